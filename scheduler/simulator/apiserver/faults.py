"""Failures made on purpose: seeded, off by default, and set anew while the server runs."""

import asyncio
import random
from collections.abc import Callable
from typing import Annotated, Final, TypeAlias

import msgspec

from kube.edge.problems import PROBLEM, ProblemError, invalid
from scheduler.simulator.apiserver.errors import ApiError, NotAllowedError
from scheduler.simulator.apiserver.requests import Request, Response

PATH: Final = "/simulator/v1/faults"
MAX_LATENCY_S: Final = 60.0
_WRITES: Final = ("POST", "PUT", "PATCH", "DELETE")

Probability: TypeAlias = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the server misbehaves."""

    latency_s: Annotated[float, msgspec.Meta(ge=0.0, le=MAX_LATENCY_S)] = 0.0
    """Waited before each answer, in wall seconds."""
    p_throttled: Probability = 0.0
    """Of a request to be answered 429."""
    p_failed: Probability = 0.0
    """Of a request to be answered 500, and not carried out."""
    p_conflict: Probability = 0.0
    """Of an update, patch or binding to be answered 409, and not carried out."""
    p_answer_lost: Probability = 0.0
    """Of a write to be carried out and yet answered 500."""
    p_watch_dropped: Probability = 0.0
    """Of a watch to end after an event, for each event."""
    spared_user_agent: str = ""
    """Clients whose ``User-Agent`` begins so are served well; empty spares nobody."""
    seed: int = 0


NO_FAULTS: Final = Faults()


class FailedOnPurposeError(ApiError):
    """The server fails, as if it were broken."""

    def __init__(self) -> None:
        message = "Internal error occurred: injected fault"
        super().__init__(500, message, reason="InternalError", details={})


class FaultInjector:
    """Decides by seeded chance which requests fail.

    Args:
        faults: What to begin with.
        on_strike: Told the kind of each fault made.
    """

    def __init__(self, faults: Faults, *, on_strike: Callable[[str], None]) -> None:
        self._faults = faults
        self._on_strike = on_strike
        self._random = random.Random(faults.seed)

    async def before(self, request: Request) -> None:
        """Delay a request, and perhaps refuse it.

        Raises:
            ApiError: 409 or 429.
            FailedOnPurposeError: 500.
        """
        faults = self._faults
        if self._spares(request):
            return
        if faults.latency_s:
            await asyncio.sleep(faults.latency_s)
        if self._strikes(faults.p_throttled, "throttled"):
            raise ApiError(
                429,
                "the server has received too many requests and has asked us to try again later",
                reason="TooManyRequests",
                details={"retryAfterSeconds": 1},
                headers=(("Retry-After", "1"),),
            )
        if self._strikes(faults.p_failed, "failed"):
            raise FailedOnPurposeError()
        if _may_conflict(request) and self._strikes(faults.p_conflict, "conflict"):
            message = "Operation cannot be fulfilled: injected fault; please try again"
            raise ApiError(409, message, reason="Conflict", details={})

    def after(self, request: Request) -> None:
        """Perhaps lose the answer of a write that was carried out.

        Raises:
            FailedOnPurposeError: 500.
        """
        if request.method not in _WRITES or self._spares(request):
            return
        if self._strikes(self._faults.p_answer_lost, "answer_lost"):
            raise FailedOnPurposeError()

    def drops_watch(self, request: Request) -> bool:
        """Tell whether the watch that this request began is to end now."""
        return not self._spares(request) and self._strikes(
            self._faults.p_watch_dropped, "watch_dropped"
        )

    def answer(self, request: Request) -> Response | None:
        """Show the faults, or take in new ones; None at another address.

        Those that a ``PUT`` leaves out are off from then on; chance begins anew from its seed.

        Raises:
            NotAllowedError: 405.
        """
        if request.path != PATH:
            return None
        if request.method == "PUT":
            try:
                self._set(request.body)
            except ProblemError as error:
                body = msgspec.json.encode(error.details)
                return Response(status=error.details.status, body=body, content_type=PROBLEM)
        elif request.method != "GET":
            raise NotAllowedError()
        return Response(body=msgspec.json.encode(self._faults))

    # --- details

    def _set(self, body: bytes) -> None:
        try:
            self._faults = msgspec.json.decode(body, type=Faults)
        except msgspec.ValidationError as error:
            problem = invalid(str(error))
            raise problem from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProblemError(400, "Malformed JSON", detail=str(error)) from error
        self._random = random.Random(self._faults.seed)

    def _spares(self, request: Request) -> bool:
        spared = self._faults.spared_user_agent
        return bool(spared) and request.user_agent.startswith(spared)

    def _strikes(self, p: float, kind: str) -> bool:
        if not p or self._random.random() >= p:
            return False
        self._on_strike(kind)
        return True


def _may_conflict(request: Request) -> bool:
    return request.method in ("PUT", "PATCH") or (
        request.method == "POST" and request.path.endswith(("/binding", "/bindings"))
    )
