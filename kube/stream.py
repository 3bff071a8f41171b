"""The lines of an answer that does not end, as a watch's."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from kube.errors import UnavailableError

_READ_BYTES: Final = 65_536


class Stream(Iterator[bytes]):
    """Iterates over the lines of an answer as they arrive; a context manager that lets go of it.

    Iteration ends when the server ends the answer, when it is silent for longer than the read
    timeout, and after ``close()``, which another thread may call.

    Args:
        response: An answer whose body is not read yet.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self._lines = split_lines(response.stream(_READ_BYTES))
        self._closing = False

    def __next__(self) -> bytes:
        """Wait for the next line.

        Raises:
            StopIteration: There are no more.
            UnavailableError: The connection broke.
        """
        try:
            return next(self._lines)
        except (StopIteration, ReadTimeoutError):
            self._response.close()
            raise StopIteration from None
        except HTTPError as error:
            self._response.close()
            if self._closing:
                raise StopIteration from None
            raise UnavailableError(f"the stream broke: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._response.close()

    def close(self) -> None:
        """End the iteration, even one that waits in another thread.

        The connection itself is closed by whoever iterates, or on leaving the ``with``: nobody
        may close what another thread reads from.
        """
        self._closing = True
        # All three mean that the other side, or the reader, was faster.
        with suppress(OSError, RuntimeError, ValueError):
            self._response.shutdown()


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut chunks into lines without their ends; a last line that was cut off is dropped.

    Each byte is looked at once and copied once, however many chunks a line spans.
    """
    parts: list[bytes] = []
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        parts.append(first)
        if not rest:
            continue
        yield b"".join(parts)
        yield from rest[:-1]
        parts = [rest[-1]]
