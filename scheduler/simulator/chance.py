"""Chance that depends on who and when alone, not on who else asked before.

A number is a hash of (key, index, salt), so a pod meets the same luck whatever else happens in the
world: two schedulers compared on one seed face the same bursts and the same crashes. (The hash is
splitmix64's finaliser, which passes the usual randomness batteries and vectorises well.)
"""

import hashlib
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

_GOLDEN: Final = 0x9E3779B97F4A7C15
_SALT: Final = 0xD1B54A32D192ED03
_MASK: Final = 2**64 - 1


def key_of(*parts: object) -> int:
    """Hash anything printable to 64 bits, alike in every process and on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def generator_of(*parts: object) -> np.random.Generator:
    """Make a generator for drawing what is drawn once for each key."""
    return np.random.Generator(np.random.PCG64(key_of(*parts)))


def uniform(keys: NDArray[np.uint64], *, index: int, salt: int) -> NDArray[np.float64]:
    """Draw from [0, 1) once for each key.

    Args:
        keys: Who asks, shape ``(n,)``.
        index: When: the number of a tick, of a window, of a failure.
        salt: What for: different purposes must not share their luck.

    Returns:
        Shape ``(n,)``.
    """
    return (_mix(keys, index=index, salt=salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def triangular(keys: NDArray[np.uint64], *, index: int, salt: int) -> NDArray[np.float64]:
    """Draw from the symmetric triangle on [-1, 1], mean 0, once for each key."""
    bits = _mix(keys, index=index, salt=salt)
    halves = (bits >> np.uint64(32)) + (bits & np.uint64(0xFFFFFFFF))
    return halves.astype(np.float64) * 2.0**-32 - 1.0


class Luck:
    """Draws for keys that seldom change, each made once although it holds for many ticks."""

    def __init__(self) -> None:
        self._keys = np.zeros(0, dtype=np.uint64)
        self._uniform: dict[int, tuple[int, NDArray[np.float64]]] = {}
        self._triangular: dict[int, tuple[int, NDArray[np.float64]]] = {}

    def of(self, keys: NDArray[np.uint64]) -> Self:
        """Draw for these keys from now on."""
        if not np.array_equal(keys, self._keys):
            self._keys = keys.copy()
            self._uniform.clear()
            self._triangular.clear()
        return self

    def uniform(self, *, index: int, salt: int) -> NDArray[np.float64]:
        """As the function of that name; the answer must not be changed."""
        drawn = self._uniform.get(salt)
        if drawn is None or drawn[0] != index:
            drawn = self._uniform[salt] = index, uniform(self._keys, index=index, salt=salt)
        return drawn[1]

    def triangular(self, *, index: int, salt: int) -> NDArray[np.float64]:
        """As the function of that name; the answer must not be changed."""
        drawn = self._triangular.get(salt)
        if drawn is None or drawn[0] != index:
            drawn = self._triangular[salt] = index, triangular(self._keys, index=index, salt=salt)
        return drawn[1]


def _mix(keys: NDArray[np.uint64], *, index: int, salt: int) -> NDArray[np.uint64]:
    bits = keys ^ np.uint64((index * _GOLDEN + salt * _SALT + _GOLDEN) & _MASK)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = bits ^ (bits >> np.uint64(31))
    return mixed
