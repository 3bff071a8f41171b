"""Times gone by, as tables print them: ``5s``, ``3m12s``, ``4d2h``."""

from kube.instants import parse_rfc3339

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86_400, 365 * 86_400


def since(instant: str | None, *, now_s: float) -> str:
    """How long ago an instant was; ``<unknown>`` when there is none."""
    if not instant:
        return "<unknown>"
    return human_duration(now_s - parse_rfc3339(instant))


def human_duration(elapsed_s: float) -> str:
    """A duration in one or two units, coarser the longer it is."""
    seconds = int(elapsed_s)
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    for below, unit, name, finer, finer_name in _STEPS:
        if seconds < below:
            rest = seconds % unit // finer if finer else 0
            return f"{seconds // unit}{name}" + (f"{rest}{finer_name}" if rest else "")
    return f"{seconds // _YEAR}y"


_STEPS = (
    (2 * _MINUTE, 1, "s", 0, ""),
    (10 * _MINUTE, _MINUTE, "m", 1, "s"),
    (3 * _HOUR, _MINUTE, "m", 0, ""),
    (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
    (2 * _DAY, _HOUR, "h", 0, ""),
    (8 * _DAY, _DAY, "d", _HOUR, "h"),
    (2 * _YEAR, _DAY, "d", 0, ""),
    (8 * _YEAR, _YEAR, "y", _DAY, "d"),
)
"""Up to when, in which unit, and which finer unit beside it."""
