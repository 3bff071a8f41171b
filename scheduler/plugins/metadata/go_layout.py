"""Reading instants in the form that Go's ``time`` package is told them in: by an example.

A layout is the instant *Mon Jan 2 15:04:05 MST 2006* (a zone of -0700), written as others will be.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

RFC3339: Final = "2006-01-02T15:04:05Z07:00"

_MONTHS: Final = [
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
]
_DAYS: Final = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


class _Element(NamedTuple):
    """A part of a layout."""

    field: str
    """What it says; two elements may say the same in different words."""
    pattern: str
    read: Callable[[str], int] = int


def _one_of(words: list[str], *, length: int | None = None) -> tuple[str, Callable[[str], int]]:
    """Make a pattern of names, in any case, and what gives a name's number from 1."""
    short = [word[:length].lower() for word in words]
    return f"(?i:{'|'.join(short)})", lambda text: short.index(text.lower()) + 1


def _offset_s(text: str) -> int:
    """Read a zone's distance from Greenwich, in seconds."""
    if text in ("Z", "UTC", "GMT"):
        return 0
    digits = text[1:].replace(":", "").ljust(6, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:4]) * 60 + int(digits[4:6])
    return -seconds if text[0] == "-" else seconds


# The longest first: 2006 begins with 2, and January with Jan.
_ELEMENTS: Final = {
    "January": _Element("month", *_one_of(_MONTHS)),
    "Jan": _Element("month", *_one_of(_MONTHS, length=3)),
    "Monday": _Element("weekday", *_one_of(_DAYS)),
    "Mon": _Element("weekday", *_one_of(_DAYS, length=3)),
    "MST": _Element("zone", "UTC|GMT", _offset_s),
    "2006": _Element("year", r"\d{4}"),
    "Z07:00:00": _Element("zone", r"Z|[+-]\d\d:\d\d:\d\d", _offset_s),
    "Z070000": _Element("zone", r"Z|[+-]\d{6}", _offset_s),
    "Z07:00": _Element("zone", r"Z|[+-]\d\d:\d\d", _offset_s),
    "Z0700": _Element("zone", r"Z|[+-]\d{4}", _offset_s),
    "Z07": _Element("zone", r"Z|[+-]\d\d", _offset_s),
    "-07:00:00": _Element("zone", r"[+-]\d\d:\d\d:\d\d", _offset_s),
    "-070000": _Element("zone", r"[+-]\d{6}", _offset_s),
    "-07:00": _Element("zone", r"[+-]\d\d:\d\d", _offset_s),
    "-0700": _Element("zone", r"[+-]\d{4}", _offset_s),
    "-07": _Element("zone", r"[+-]\d\d", _offset_s),
    "002": _Element("day_of_year", r"\d{3}"),
    "01": _Element("month", r"\d\d"),
    "02": _Element("day", r"\d\d"),
    "03": _Element("hour12", r"\d\d"),
    "04": _Element("minute", r"\d\d"),
    "05": _Element("second", r"\d\d"),
    "06": _Element("short_year", r"\d\d"),
    "15": _Element("hour", r"\d\d"),
    "__2": _Element("day_of_year", r"[ \d]{2}\d"),
    "_2": _Element("day", r"[ \d]\d"),
    "PM": _Element("half", "AM|PM", lambda text: 12 * (text == "PM")),
    "pm": _Element("half", "am|pm", lambda text: 12 * (text == "pm")),
    "1": _Element("month", r"\d\d?"),
    "2": _Element("day", r"\d\d?"),
    "3": _Element("hour12", r"\d\d?"),
    "4": _Element("minute", r"\d\d?"),
    "5": _Element("second", r"\d\d?"),
}
_TOKENS: Final = re.compile("|".join(re.escape(each) for each in _ELEMENTS))


def _nanoseconds(digits: str) -> int:
    return int(digits[:9].ljust(9, "0"))


_NANOSECOND: Final = _Element("nanosecond", "", _nanoseconds)
_FRACTION: Final = re.compile(r"[.,](0+|9+)(?!\d)")


class GoLayout:
    """A layout that instants can be read by.

    Args:
        layout: As Go's ``time.Parse`` takes it.

    Raises:
        ValueError: It names no part of an instant, or one twice.
    """

    def __init__(self, layout: str) -> None:
        self._elements: list[_Element] = []
        pattern, end = "", 0
        for token in _TOKENS.finditer(layout):
            if token.start() < end:
                continue
            pattern += re.escape(layout[end : token.start()])
            end = token.end()
            element = _ELEMENTS[token[0]]
            self._elements.append(element)
            pattern += f"({element.pattern})"
            if element.field == "second":
                fraction = _FRACTION.match(layout, end)
                end = end if fraction is None else fraction.end()
                self._elements.append(_NANOSECOND)
                pattern += _digits(fraction)
        self._pattern = re.compile(pattern + re.escape(layout[end:]), re.ASCII)
        fields = [each.field for each in self._elements]
        if not fields:
            raise ValueError(f"{layout!r} names no part of an instant (such as the year, 2006)")
        if len(set(fields)) < len(fields):
            raise ValueError(f"{layout!r} names a part of the instant twice")

    def parse(self, text: str) -> float | None:
        """Read an instant; without a zone it is in UTC.

        Returns:
            Unix seconds; ``None`` if the text is not of this form, or there is no such instant.
        """
        found = self._pattern.fullmatch(text)
        if found is None:
            return None
        groups = zip(self._elements, found.groups(), strict=True)
        parts = {element.field: element.read(part or "") for element, part in groups}
        try:
            return _unix_s(parts)
        except (ValueError, OverflowError):
            return None


def _digits(fraction: re.Match[str] | None) -> str:
    """Make the pattern of what follows seconds; as in Go, that is so many digits as zeros say.

    Where a layout has nines, or nothing, there may be as many as there are, or none.
    """
    if fraction is not None and fraction[1].startswith("0"):
        return rf"[.,](\d{{{len(fraction[1])}}})"
    return r"(?:[.,](\d+))?"


def _unix_s(parts: dict[str, int]) -> float:
    """Put an instant together.

    Raises:
        ValueError: There is no such day or hour.
        OverflowError: It is out of the calendar.
    """
    hour = parts.get("hour", 0)
    if "hour12" in parts:
        if not 1 <= parts["hour12"] <= 12:
            raise ValueError("no such hour")
        hour = parts["hour12"] % 12 + parts.get("half", 0)
    short = parts.get("short_year", 0)
    year = parts.get("year", short + (1900 if short >= 69 else 2000))
    day = datetime(year, parts.get("month", 1), parts.get("day", 1), tzinfo=UTC)
    if "day_of_year" in parts:
        day = datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=parts["day_of_year"] - 1)
    instant = day.replace(hour=hour, minute=parts.get("minute", 0), second=parts.get("second", 0))
    fraction_s = parts.get("nanosecond", 0) / 1e9
    return instant.timestamp() + fraction_s - parts.get("zone", 0)
