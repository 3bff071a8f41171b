"""Names, label keys and label values: what is wrong with one, in upstream's words."""

import re
from functools import lru_cache

_LABEL_63 = "must be no more than 63 bytes"
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_PATH_SEGMENT_WORDS = (".", "..")

SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    r"for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
LABEL_1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
    "'12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
NAME_PART_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


def _too_long(text: str, limit: int) -> list[str]:
    return [f"must be no more than {limit} bytes"] if len(text.encode()) > limit else []


def subdomain_problems(name: str) -> list[str]:
    """What keeps *name* from being an RFC 1123 subdomain."""
    problems = _too_long(name, 253)
    return problems if _SUBDOMAIN.fullmatch(name) else [*problems, SUBDOMAIN_TEXT]


def label_problems(name: str) -> list[str]:
    """What keeps *name* from being an RFC 1123 label."""
    problems = _too_long(name, 63)
    return problems if _LABEL.fullmatch(name) else [*problems, LABEL_TEXT]


def label_1035_problems(name: str) -> list[str]:
    """What keeps *name* from being an RFC 1035 label."""
    problems = _too_long(name, 63)
    return problems if _LABEL_1035.fullmatch(name) else [*problems, LABEL_1035_TEXT]


def path_segment_problems(name: str) -> list[str]:
    """What keeps *name* from standing between two slashes of an address."""
    if name in _PATH_SEGMENT_WORDS:
        return [f"may not be '{name}'"]
    return [f"may not contain '{char}'" for char in "/%" if char in name]


@lru_cache(maxsize=8192)
def label_value_problems(value: str) -> tuple[str, ...]:
    """What keeps *value* from being a label's value."""
    problems = _too_long(value, 63)
    return tuple(problems if _VALUE.fullmatch(value) else [*problems, VALUE_TEXT])


@lru_cache(maxsize=8192)
def label_key_problems(key: str) -> tuple[str, ...]:
    """What keeps *key* from being a label's key, or any other qualified name."""
    prefix, slash, name = key.rpartition("/")
    if prefix.count("/"):
        return (
            "a qualified name " + NAME_PART_TEXT + " with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')",
        )
    problems: list[str] = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        problems += [f"prefix part {text}" for text in subdomain_problems(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    problems += [f"name part {text}" for text in _too_long(name, 63)]
    if not _QUALIFIED.fullmatch(name):
        problems.append(f"name part {NAME_PART_TEXT}")
    return tuple(problems)
