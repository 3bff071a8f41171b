"""A program of ours, or of the neighbourhood, that is asked by HTTP what nodes use."""

import time
from collections.abc import Mapping
from typing import Final

import requests

from kube.edge.answers import AnswerError, read_whole
from scheduler.cluster.usage.source import UsageError

_MAX_BYTES: Final = 64 * 2**20
_QUOTED_CHARS: Final = 200


class Peer:
    """Is asked one question, again and again.

    Args:
        name: Who that is, for messages.
        url: The question's address.
        parameters: Of the question.
        timeout_s: How long a whole answer may take.
    """

    def __init__(
        self, name: str, *, url: str, parameters: Mapping[str, str] | None = None, timeout_s: float
    ) -> None:
        self._name = name
        self._url = url
        self._parameters = parameters
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.trust_env = False

    def ask(self) -> bytes:
        """Ask.

        Returns:
            The body of the answer.

        Raises:
            UsageError: There is none, or it is no success.
        """
        try:
            status, body = self._read()
        except (requests.RequestException, OSError, AnswerError) as error:
            raise UsageError(f"{self._name} does not answer: {error}") from error
        if status != requests.codes.ok:
            said = body[:_QUOTED_CHARS].decode(errors="replace")
            raise UsageError(f"{self._name} answers HTTP {status}: {said}")
        return body

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _read(self) -> tuple[int, bytes]:
        until_s = time.monotonic() + self._timeout_s
        with self._session.get(
            self._url,
            params=self._parameters,
            timeout=self._timeout_s,
            stream=True,
            allow_redirects=False,
        ) as answer:
            body = read_whole(answer, max_bytes=_MAX_BYTES, until_s=until_s)
            return answer.status_code, body
