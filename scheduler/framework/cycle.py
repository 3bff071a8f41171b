"""What plugins hand on to each other within one scheduling cycle."""

from typing import TypeVar

T = TypeVar("T")


class CycleState:
    """Facts of one cycle, one for each type; written early, read later, never shared by cycles."""

    __slots__ = ("_facts",)

    def __init__(self) -> None:
        self._facts: dict[type, object] = {}

    def write(self, fact: object) -> None:
        """Keep *fact* until the cycle ends; replaces an earlier one of the same type."""
        self._facts[type(fact)] = fact

    def read(self, fact_type: type[T]) -> T | None:
        """Return the fact of that type, if one was written."""
        fact = self._facts.get(fact_type)
        return fact if isinstance(fact, fact_type) else None
