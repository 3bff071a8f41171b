"""A set of pods in 24 characters, as the agents on nodes write it (podfingerprint v001).

Pods are hashed by XXH64, their namespace's hash being the seed of their name's; so are these
hashes, in ascending order. By this an agent says which pods its report takes into account.
"""

import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from scheduler.model import PodFacts

_PREFIX: Final = "pfp0v001"
_MASK: Final = 2**64 - 1
_P1: Final = 0x9E3779B185EBCA87
_P2: Final = 0xC2B2AE3D27D4EB4F
_P3: Final = 0x165667B19E3779F9
_P4: Final = 0x85EBCA77C2B2AE63
_P5: Final = 0x27D4EB2F165667C5
_STRIPE: Final = struct.Struct("<4Q")
_WORD: Final = struct.Struct("<Q")
_HALF_WORD: Final = struct.Struct("<I")


def fingerprint(pods: Iterable[PodFacts]) -> str:
    """Give the fingerprint of a set of pods, in any order."""
    hashes = sorted(_hash_pod(pod.namespace, pod.name) for pod in pods)
    return f"{_PREFIX}{xxh64(b''.join(map(_WORD.pack, hashes))):016x}"


@lru_cache(maxsize=65_536)
def _hash_pod(namespace: str, name: str) -> int:
    return xxh64(name.encode(), seed=xxh64(namespace.encode()))


def xxh64(data: bytes, *, seed: int = 0) -> int:
    """Hash as XXH64 does, to 64 bits."""
    n_striped = len(data) - len(data) % _STRIPE.size
    found = _striped(data[:n_striped], seed=seed) if n_striped else (seed + _P5) & _MASK
    found = _absorb(found + len(data) & _MASK, data[n_striped:])
    found = (found ^ found >> 33) * _P2 & _MASK
    found = (found ^ found >> 29) * _P3 & _MASK
    return found ^ found >> 32


def _striped(data: bytes, *, seed: int) -> int:
    lanes = [(seed + _P1 + _P2) & _MASK, (seed + _P2) & _MASK, seed, (seed - _P1) & _MASK]
    for words in _STRIPE.iter_unpack(data):
        lanes = [_round(lane, word) for lane, word in zip(lanes, words, strict=True)]
    turns = zip(lanes, (1, 7, 12, 18), strict=True)
    found = sum(_turned(lane, bits) for lane, bits in turns) & _MASK
    for lane in lanes:
        found = ((found ^ _round(0, lane)) * _P1 + _P4) & _MASK
    return found


def _absorb(found: int, rest: bytes) -> int:
    """Take in what does not fill a stripe."""
    n_words = len(rest) // _WORD.size * _WORD.size
    for (word,) in _WORD.iter_unpack(rest[:n_words]):
        found = (_turned(found ^ _round(0, word), 27) * _P1 + _P4) & _MASK
    rest = rest[n_words:]
    if len(rest) >= _HALF_WORD.size:
        (half,) = _HALF_WORD.unpack_from(rest)
        found = (_turned(found ^ half * _P1 & _MASK, 23) * _P2 + _P3) & _MASK
        rest = rest[_HALF_WORD.size :]
    for byte in rest:
        found = _turned(found ^ byte * _P5 & _MASK, 11) * _P1 & _MASK
    return found


def _round(lane: int, word: int) -> int:
    return _turned((lane + word * _P2) & _MASK, 31) * _P1 & _MASK


def _turned(number: int, bits: int) -> int:
    return (number << bits | number >> 64 - bits) & _MASK
