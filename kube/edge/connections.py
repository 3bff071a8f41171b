"""How connections treat clients that send no HTTP, or take too long over it.

waitress answers the former in plain text, and waits for the latter as long as they send or take a
byte now and then.
"""

import time
from typing import Any

import msgspec
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask

from kube.edge.problems import PROBLEM, ProblemDetails


class Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """Refuses URLs that cannot be taken apart, too, and knows when its request began."""

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self.began_s = time.time()

    def parse_header(self, header_plus: bytes) -> None:
        """Read the first line and the headers.

        Raises:
            ParsingError: They are malformed.
        """
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError(str(error)) from error


class Problem(ErrorTask):  # type: ignore[misc]  # as above
    """Answers what is no proper HTTP with a problem document."""

    def execute(self) -> None:
        """Write the answer, and close the connection after it."""
        error = self.request.error
        details = ProblemDetails(title=error.reason, status=error.code, detail=error.body)
        content = msgspec.json.encode(details)
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", PROBLEM))
        self.set_close_on_finish()
        self.content_length = len(content)
        self.write(content)


class Channel(HTTPChannel):  # type: ignore[misc]  # as above
    """One connection."""

    parser_class = Parser
    error_task_class = Problem

    def write_soon(self, data: Any) -> int:
        """Take in a part of the answer, for which the client is given time from now on."""
        self.last_activity = time.time()
        return int(super().write_soon(data))

    def is_slow(self, now_s: float, *, read_timeout_s: float, write_timeout_s: float) -> bool:
        """Tell whether the client takes too long to read its answer, or to send a request.

        Args:
            now_s: Unix time in seconds, as waitress reckons.
            read_timeout_s: How long it may take over a request, or be idle.
            write_timeout_s: How long it may take nothing of an answer.
        """
        if self.total_outbufs_len:
            return bool(now_s - self.last_activity > write_timeout_s)
        if self.requests:
            return False  # It is we who work on it.
        partial = self.request
        since_s = self.last_activity if partial is None else partial.began_s
        return bool(now_s - since_s > read_timeout_s)
