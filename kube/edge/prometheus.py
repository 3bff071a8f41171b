"""Prometheus' HTTP API, as far as it is asked: instant and range queries, typed and bounded."""

import logging
import time
from pathlib import Path
from typing import Final, Literal, TypeVar

import msgspec
import requests

from kube.edge.answers import AnswerError, LongAnswerError, read_whole
from kube.edge.logs import facts
from kube.edge.settings import HttpUrl, Interval, Settings, SettingsError

log = logging.getLogger(__name__)

_MAX_BYTES: Final = 64 * 2**20
"""A larger answer is refused; 30,000 pods' containers make about 10 MB."""
_QUOTED_CHARS: Final = 300
"""How much of another's error message is passed on."""


class PrometheusAccess(Settings, frozen=True):
    """Where Prometheus is, and how to be let in."""

    url: HttpUrl = "http://127.0.0.1:9090"
    token_file: str = ""
    """A bearer token, read anew for each request; empty: none is sent."""
    ca_file: str = ""
    """The authorities to trust (PEM); empty: the public ones."""
    timeout: Interval = Interval(10)
    """How long a whole answer may take."""


class PrometheusError(Exception):
    """There is no usable answer.

    Args:
        message: Why.
        is_refusal: Whether Prometheus itself refused the query, so that asking again is no use.
    """

    def __init__(self, message: str, *, is_refusal: bool = False) -> None:
        super().__init__(message)
        self.is_refusal = is_refusal


class Point(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value at an instant."""

    at_s: float
    text: str
    """The value as Prometheus writes floats: ``NaN`` and ``+Inf``, too."""


class InstantSeries(msgspec.Struct, frozen=True, gc=False):
    """One series of an instant vector."""

    metric: dict[str, str]
    value: Point


class RangeSeries(msgspec.Struct, frozen=True, gc=False):
    """One series of a range query."""

    metric: dict[str, str]
    values: list[Point]


class _Data(msgspec.Struct, frozen=True):
    kind: str = msgspec.field(name="resultType")
    result: msgspec.Raw


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    status: Literal["success", "error"]
    data: _Data | None = None
    error_type: str = ""
    error: str = ""
    warnings: list[str] = []


S = TypeVar("S")

_ANSWER: Final = msgspec.json.Decoder(_Answer)
_VECTOR: Final = msgspec.json.Decoder(list[InstantSeries])
_MATRIX: Final = msgspec.json.Decoder(list[RangeSeries])


class PrometheusApi:
    """Asks one server; for one thread at a time.

    Args:
        settings: Where it is, and how to be let in.
        name: What the settings are called where they are written.
        token: A bearer token, if it is not in a file.
        believes_all: Whether to take any certificate for Prometheus' own.

    Raises:
        SettingsError: The file of the token or of the authorities cannot be read.
    """

    def __init__(
        self,
        settings: PrometheusAccess,
        *,
        name: str = "prometheus",
        token: str = "",
        believes_all: bool = False,
    ) -> None:
        self._url = settings.url.rstrip("/")
        self._timeout_s = float(settings.timeout)
        self._token = token
        self._token_file = Path(settings.token_file) if settings.token_file else None
        self._session = requests.Session()
        self._session.trust_env = False
        try:
            self._read_token()
            if settings.ca_file:
                Path(settings.ca_file).read_bytes()
                self._session.verify = settings.ca_file
            if believes_all:
                self._session.verify = False
        except (OSError, ValueError) as error:
            raise SettingsError(f"{name}: {error}") from error
        self._warned: list[str] = []

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def instant(self, query: str, *, at_s: float) -> list[InstantSeries]:
        """Evaluate a query at one instant.

        Args:
            query: PromQL that gives a vector.
            at_s: Unix time.

        Raises:
            PrometheusError: There is no usable answer.
        """
        data = self._ask("query", {"query": query, "time": f"{at_s:.3f}"})
        return _decode(data, _VECTOR, kind="vector", query=query)

    def range(
        self, query: str, *, start_s: float, end_s: float, step_s: float
    ) -> list[RangeSeries]:
        """Evaluate a query at *start_s*, *start_s* + *step_s* … *end_s* (inclusive).

        Raises:
            PrometheusError: There is no usable answer.
        """
        data = self._ask(
            "query_range",
            {
                "query": query,
                "start": f"{start_s:.3f}",
                "end": f"{end_s:.3f}",
                "step": f"{step_s:.3f}",
            },
        )
        return _decode(data, _MATRIX, kind="matrix", query=query)

    def _ask(self, path: str, parameters: dict[str, str]) -> _Data:
        status, body = self._read(f"{self._url}/api/v1/{path}", parameters)
        try:
            answer = _ANSWER.decode(body)
        except msgspec.DecodeError as error:
            # A proxy's page, or another program: Prometheus explains its errors in JSON.
            what = f"HTTP {status}" if status != requests.codes.ok else str(error)
            raise PrometheusError(f"{self._url} does not answer as Prometheus: {what}") from error
        if answer.status == "error" or answer.data is None:
            # 503: overloaded, timed out or shutting down, which may pass.
            is_refusal = status in (requests.codes.bad_request, requests.codes.unprocessable)
            raise PrometheusError(
                f"{answer.error_type}: {answer.error[:_QUOTED_CHARS]}", is_refusal=is_refusal
            )
        self._note(answer.warnings)
        return answer.data

    def _read(self, url: str, parameters: dict[str, str]) -> tuple[int, bytes]:
        until_s = time.monotonic() + self._timeout_s
        try:
            with self._session.get(
                url,
                params={**parameters, "timeout": f"{self._timeout_s:g}s"},
                headers=self._headers(),
                timeout=self._timeout_s,
                stream=True,
                allow_redirects=False,
            ) as answer:
                body = read_whole(answer, max_bytes=_MAX_BYTES, until_s=until_s)
                return answer.status_code, body
        except AnswerError as error:
            is_refusal = isinstance(error, LongAnswerError)
            raise PrometheusError(f"{self._url}: {error}", is_refusal=is_refusal) from error
        except (requests.RequestException, OSError, ValueError) as error:
            raise PrometheusError(f"{self._url} does not answer: {error}") from error

    def _headers(self) -> dict[str, str]:
        # Read anew each time: such tokens are replaced while we run.
        token = self._read_token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _read_token(self) -> str:
        if self._token_file is None:
            return self._token
        return self._token_file.read_text(encoding="ascii").strip()

    def _note(self, warnings: list[str]) -> None:
        """Tell of warnings (such as of a part of the data that is missing) once."""
        if warnings and warnings != self._warned:
            log.warning("Prometheus warns", extra=facts(warnings=warnings[:10]))
        self._warned = warnings


def _decode(data: _Data, decoder: msgspec.json.Decoder[S], *, kind: str, query: str) -> S:
    if data.kind != kind:
        raise PrometheusError(
            f"a query gives a {data.kind}, not a {kind}: {query}", is_refusal=True
        )
    try:
        return decoder.decode(data.result)
    except msgspec.DecodeError as error:
        raise PrometheusError(f"the answer is malformed: {error}") from error
