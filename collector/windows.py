"""Rollups: a window of usage in a few numbers that can be merged without loss.

Quantiles do not merge (the p95 of twelve p95s is nobody's p95), so a rollup keeps a histogram with
exponential buckets, after DDSketch: a quantile read from it is at most 5 % off, and merging two
gives exactly the histogram of both windows' samples.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import msgspec

ROLLUP_S: Final = 300
"""The width of a stored rollup, in seconds."""

_GAMMA: Final = 1.1
"""Neighbouring bucket bounds' ratio; the error is at most (γ − 1) / (γ + 1)."""
_LOG_GAMMA: Final = math.log(_GAMMA)
_ZERO: Final = -1
"""The bucket of the value 0, which has no logarithm."""

Buckets = dict[int, int]
"""How many values fell into each bucket: (γ^(i−1), γ^i]."""


def bucket_of(value: int) -> int:
    """Tell into which bucket a value (an amount, not negative) falls."""
    return math.ceil(math.log(value) / _LOG_GAMMA) if value > 0 else _ZERO


def _middle_of(bucket: int) -> float:
    return 2.0 * _GAMMA**bucket / (_GAMMA + 1.0) if bucket != _ZERO else 0.0


@dataclass(slots=True)
class Rollup:
    """One quantity (millicores, or bytes) over one window."""

    count: int = 0
    mean: float = 0.0
    max: int = 0
    m2: float = 0.0
    """Sum of squared differences from the mean."""
    buckets: Buckets = field(default_factory=dict)

    @classmethod
    def of(cls, values: Iterable[int]) -> Self:
        """Sum up values, none of them negative."""
        rollup = cls()
        for value in values:
            rollup.add(value)
        return rollup

    def add(self, value: int) -> None:
        """Take in one value (Welford's update, which stays exact where sums of squares do not)."""
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self.m2 += delta * (value - self.mean)
        self.max = max(self.max, value)
        bucket = bucket_of(value)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def merge(self, other: "Rollup") -> None:
        """Take in all that *other* summed up (Chan's update)."""
        if other.count == 0:
            return
        count = self.count + other.count
        delta = other.mean - self.mean
        self.m2 += other.m2 + delta * delta * self.count * other.count / count
        self.mean += delta * other.count / count
        self.max = max(self.max, other.max)
        self.count = count
        for bucket, n in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + n

    @property
    def variance(self) -> float:
        """The population's variance; 0 if empty."""
        return self.m2 / self.count if self.count else 0.0

    def quantile(self, q: float) -> float:
        """Estimate a quantile.

        Args:
            q: From 0 to 1.

        Returns:
            Within 5 % of the value of rank ``ceil(q · count)``; 0 if empty.
        """
        # From the top, for high quantiles are asked for: how many lie above the one of that rank.
        n_above = self.count - max(1, math.ceil(q * self.count))
        for bucket in sorted(self.buckets, reverse=True):
            n_above -= self.buckets[bucket]
            if n_above < 0:
                return min(_middle_of(bucket), float(self.max))
        return 0.0


Window = tuple[Rollup, Rollup]
"""CPU in millicores, memory in bytes."""


def encode_buckets(buckets: Buckets) -> bytes:
    """Pack a histogram: a few bytes for the few buckets that a window touches."""
    return msgspec.msgpack.encode(buckets)


def decode_all_buckets(data: Sequence[bytes]) -> list[Buckets]:
    """Unpack many histograms in one go, which takes half of the time.

    Raises:
        msgspec.DecodeError: The bytes are no histograms.
    """
    # MessagePack's array of up to 2³² elements: its mark, their number, and they themselves.
    return _ALL_BUCKETS.decode(b"\xdd" + len(data).to_bytes(4, "big") + b"".join(data))


_ALL_BUCKETS: Final = msgspec.msgpack.Decoder(list[Buckets])


def rollup_row(series_id: int, start_s: int, window: Window) -> dict[str, Any]:
    """Put a window into a row of the table ``rollups``."""
    cpu, memory = window
    return {
        "series_id": series_id,
        "start_s": start_s,
        "n": cpu.count,
        "cpu_mean": cpu.mean,
        "cpu_max": cpu.max,
        "cpu_m2": cpu.m2,
        "cpu_buckets": encode_buckets(cpu.buckets),
        "memory_mean": memory.mean,
        "memory_max": memory.max,
        "memory_m2": memory.m2,
        "memory_buckets": encode_buckets(memory.buckets),
    }
