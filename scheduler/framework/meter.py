"""What the parts of a cycle cost: measured by whoever has a clock, which deciding has not."""

from typing import Final, Protocol


class Meter(Protocol):
    """Is told how cycles pass. What it does with that never changes a decision."""

    def now_s(self) -> float:
        """Tell the time by some clock, in seconds; only differences count."""

    def passed(self, point: str, *, profile: str, status: str, since_s: float) -> float:
        """Take in that an extension point, all of its plugins, is passed.

        Args:
            point: By kube-scheduler's name.
            profile: Whose.
            status: How it ended, in kube-scheduler's words.
            since_s: When it began, by ``now_s``.

        Returns:
            The time now.
        """

    def called(self, plugin: str, *, point: str, status: str, since_s: float) -> None:
        """Take in that one plugin was called, in a cycle that ``samples`` picked."""

    def samples(self) -> bool:
        """Say whether to measure every plugin in the cycle that begins now."""

    @property
    def is_sampling(self) -> bool:
        """What ``samples`` said of the cycle that is under way."""


class _Unmetered:
    def now_s(self) -> float:
        return 0.0

    def passed(self, point: str, *, profile: str, status: str, since_s: float) -> float:
        return 0.0

    def called(self, plugin: str, *, point: str, status: str, since_s: float) -> None:
        pass

    def samples(self) -> bool:
        return False

    @property
    def is_sampling(self) -> bool:
        return False


UNMETERED: Final[Meter] = _Unmetered()
"""Measures nothing."""
