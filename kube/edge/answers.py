"""Reads what other programs answer: whole, and no longer than anybody should have to wait."""

import time
from typing import Final

import requests

_CHUNK_BYTES: Final = 2**16


class AnswerError(Exception):
    """There is no whole answer."""


class LongAnswerError(AnswerError):
    """It has more bytes than anybody should read."""


class SlowAnswerError(AnswerError):
    """It does not come to an end in time."""


def read_whole(answer: requests.Response, *, max_bytes: int, until_s: float) -> bytes:
    """Read the body of an answer; a timeout of ``requests`` bounds single waits alone.

    Args:
        answer: Asked for with ``stream=True``.
        max_bytes: How long it may be, unpacked.
        until_s: When it has to be there, by ``time.monotonic()``.

    Raises:
        LongAnswerError: It is longer.
        SlowAnswerError: It is not.
    """
    body = bytearray()
    for chunk in answer.iter_content(_CHUNK_BYTES):
        body += chunk
        if len(body) > max_bytes:
            raise LongAnswerError(f"the answer exceeds {max_bytes} bytes")
        if time.monotonic() > until_s:
            raise SlowAnswerError("the answer does not come to an end in time")
    return bytes(body)
