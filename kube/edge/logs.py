"""Logs: one JSON object a line on standard error, a constant message and facts as keys.

``log.info("pod bound", extra=facts(pod="default/web-1", node="n1"))``
"""

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

_FACTS = "facts"


def facts(**values: object) -> dict[str, Mapping[str, object]]:
    """Attach facts to a log record: ``log.info("…", extra=facts(pod=…))``."""
    return {_FACTS: values}


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Render time, level, logger, message, facts and the traceback, if any."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FACTS, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def configure_logs(level: str = "INFO") -> None:
    """Send every log of this process to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # One line per executed job and per request is noise beside our own events, and a way to flood
    # the log from outside.
    for noisy in ("apscheduler", "waitress", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
