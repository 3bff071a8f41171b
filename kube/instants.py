"""Instants as Kubernetes writes them, from and to Unix seconds."""

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=4096)
def _whole(second: int) -> str:
    return datetime.fromtimestamp(second, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339(instant_s: float) -> str:
    """Second resolution, as ``creationTimestamp`` has it."""
    return _whole(int(instant_s))


def rfc3339_micro(instant_s: float) -> str:
    """Microsecond resolution, as leases and events have it."""
    whole = int(instant_s)
    return f"{_whole(whole)[:-1]}.{int((instant_s - whole) * 1e6):06d}Z"


def parse_rfc3339(text: str) -> float:
    """Unix seconds of an instant.

    Raises:
        ValueError: The text is no RFC 3339 instant with a zone.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no zone")
    return instant.timestamp()


def http_date(instant_s: float) -> str:
    """As the ``Date`` header has it."""
    return _http_date(int(instant_s))


@lru_cache(maxsize=4)
def _http_date(whole_s: int) -> str:
    return datetime.fromtimestamp(whole_s, tz=UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
