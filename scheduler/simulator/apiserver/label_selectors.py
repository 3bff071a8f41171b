"""Label selectors in their text form, parsed and refused in upstream's words."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.simulator.apiserver.errors import BadRequestError
from scheduler.simulator.apiserver.names import label_key_problems, label_value_problems

_OPERATORS = ("in", "notin", "=", "==", "!=", "gt", "lt")
_SYMBOLS = {
    ")": ")",
    ",": ",",
    "!": "!",
    "==": "==",
    "=": "=",
    ">": "gt",
    "<": "lt",
    "!=": "!=",
    "(": "(",
}
_SPECIAL = "=!(),><"
_INTEGER = re.compile(r"[+-]?\d+")
_END, _IDENTIFIER = "end", "identifier"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object with these labels meets the condition."""
        value = labels.get(self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "in":
                return value in self.values
            case "notin":
                return value is None or value not in self.values
            case _:
                return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        if value is None or not _INTEGER.fullmatch(value):
            return False
        [bound] = self.values
        return int(value) > int(bound) if self.operator == "gt" else int(value) < int(bound)


def matches_all(requirements: Iterable[Requirement], labels: Mapping[str, str] | None) -> bool:
    """Tell whether an object with these labels meets every condition."""
    held = labels or {}
    return all(requirement.matches(held) for requirement in requirements)


def from_label_selector(selector: Mapping[str, Any]) -> tuple[Requirement, ...]:
    """The conditions of a ``LabelSelector`` object (``matchLabels``, ``matchExpressions``)."""
    found = [
        Requirement(key, "in", frozenset((value,)))
        for key, value in (selector.get("matchLabels") or {}).items()
    ]
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
    found += [
        Requirement(each["key"], operators[each["operator"]], frozenset(each.get("values") or ()))
        for each in selector.get("matchExpressions") or ()
    ]
    return tuple(found)


def parse_label_selector(text: str) -> tuple[Requirement, ...]:
    """Read ``a=b,c in (d,e),!f``.

    Raises:
        BadRequestError: 400, in the words of upstream's parser.
    """
    return _Parser(text).parse()


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    i = 0
    while i < len(text):
        char = text[i]
        if char in " \t\r\n":
            i += 1
        elif char in _SPECIAL:
            symbol = text[i : i + 2] if text[i : i + 2] in _SYMBOLS else char
            found.append((_SYMBOLS[symbol], symbol))
            i += len(symbol)
        else:
            start = i
            while i < len(text) and text[i] not in _SPECIAL + " \t\r\n":
                i += 1
            found.append((_IDENTIFIER, text[start:i]))
    found.append((_END, ""))
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def parse(self) -> tuple[Requirement, ...]:
        found: list[Requirement] = []
        while True:
            kind, literal = self._peek()
            if kind == _END:
                return tuple(found)
            if kind not in (_IDENTIFIER, "!"):
                raise BadRequestError(
                    f"found '{literal}', expected: !, identifier, or 'end of string'"
                )
            try:
                found.append(self._requirement())
            except BadRequestError as error:
                raise BadRequestError(f"unable to parse requirement: {error}") from error
            kind, literal = self._next()
            if kind == _END:
                return tuple(found)
            if kind != ",":
                raise BadRequestError(f"found '{literal}', expected: ',' or 'end of string'")
            kind, literal = self._peek()
            if kind not in (_IDENTIFIER, "!"):
                raise BadRequestError(f"found '{literal}', expected: identifier after ','")

    def _peek(self) -> tuple[str, str]:
        kind, literal = self._tokens[self._at]
        # Where a key or value may stand, "in" and "notin" are ordinary words.
        return kind, literal

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _requirement(self) -> Requirement:
        kind, key = self._next()
        is_negated = kind == "!"
        if is_negated:
            kind, key = self._next()
        if kind != _IDENTIFIER:
            raise BadRequestError(f"found '{key}', expected: identifier")
        if problems := label_key_problems(key):
            raise BadRequestError(f'<nil>: Invalid value: "{key}": {"; ".join(problems)}')
        if is_negated:
            return Requirement(key, "!")
        if self._peek()[0] in (_END, ","):
            return Requirement(key, "exists")
        operator = self._operator()
        values = self._values() if operator in ("in", "notin") else self._exact_value()
        return _checked(key, operator, values)

    def _operator(self) -> str:
        kind, literal = self._next()
        if kind == _IDENTIFIER and literal in ("in", "notin"):
            return literal
        if kind not in _OPERATORS:
            raise BadRequestError(f"found '{literal}', expected: {', '.join(_OPERATORS)}")
        return kind

    def _values(self) -> set[str]:
        kind, literal = self._next()
        if kind != "(":
            raise BadRequestError(f"found '{literal}' expected: '('")
        kind, literal = self._peek()
        if kind == ")":
            self._next()
            return {""}
        if kind not in (_IDENTIFIER, ","):
            raise BadRequestError(f"found '{literal}', expected: ',', ')' or identifier")
        return self._listed_values()

    def _listed_values(self) -> set[str]:
        values: set[str] = set()
        is_separated = True
        while True:
            kind, literal = self._next()
            if kind == _IDENTIFIER and is_separated:
                values.add(literal)
                is_separated = False
            elif kind == ",":
                if is_separated:
                    values.add("")
                is_separated = True
            elif kind == ")":
                return values | {""} if is_separated else values
            elif is_separated:
                raise BadRequestError(f"found '{literal}', expected: ',', or identifier")
            else:
                raise BadRequestError(f"found '{literal}', expected: ',' or ')'")

    def _exact_value(self) -> set[str]:
        if self._peek()[0] in (_END, ","):
            return {""}
        kind, literal = self._next()
        if kind != _IDENTIFIER:
            raise BadRequestError(f"found '{literal}', expected: identifier")
        return {literal}


def _checked(key: str, operator: str, values: set[str]) -> Requirement:
    for i, value in enumerate(sorted(values)):
        if operator in ("gt", "lt") and not _INTEGER.fullmatch(value):
            raise BadRequestError(
                f'values[{i}]: Invalid value: "{value}": '
                "for 'Gt', 'Lt' operators, the value must be an integer"
            )
        if problems := label_value_problems(value):
            raise BadRequestError(
                f'values[{i}][{key}]: Invalid value: "{value}": {"; ".join(problems)}'
            )
    stored = {"=": "in", "==": "in", "!=": "notin"}.get(operator, operator)
    return Requirement(key, stored, frozenset(values))
