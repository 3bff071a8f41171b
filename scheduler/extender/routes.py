"""``/extender/*``: where kube-scheduler asks us."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import msgspec
from flask import Flask, Response, request

from kube.edge.openapi import Operation
from kube.edge.problems import ProblemError, invalid
from kube.edge.serve import JSON
from scheduler.cluster.questions import NoAnswerError, Question
from scheduler.errors import PluginError
from scheduler.events import Bind
from scheduler.extender.answers import filter_nodes, rate_nodes, trim_victims
from scheduler.extender.reading import read_args, read_binding, read_preemption
from scheduler.extender.wire import (
    Answer,
    BadQuestionError,
    BindingResult,
    FilterResult,
    HostPriority,
    MetaVictims,
    PreemptionResult,
    encode,
)

T = TypeVar("T")

MAX_BODY_BYTES: Final = 64 * 2**20
"""A ``NodeList`` of 5,000 nodes, with some 12 KB for each."""


class Shell(Protocol):
    """What stands behind the routes: ``ClusterShell``, or the ``Supervisor`` of several."""

    def ask(self, question: Question[T], *, timeout_s: float) -> T:
        """Have the engine's thread answer."""

    def bind(self, action: Bind, *, timeout_s: float) -> str:
        """Bind a pod; say why it is not bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extender:
    """How to answer kube-scheduler."""

    shell: Shell
    profile: str
    """Whose plugins to ask."""
    timeout_s: float
    """How long an answer may take, in seconds."""


class ExtenderArgs(msgspec.Struct, frozen=True, kw_only=True):
    """A pod, and either nodes or their names. Fields are read in any case."""

    pod: dict[str, Any]
    nodes: dict[str, Any] | None = None
    """A ``NodeList`` (``nodeCacheCapable: false``)."""
    nodenames: list[str] | None = None
    """(``nodeCacheCapable: true``)."""


class Victims(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Pods that would have to go from a node."""

    pods: list[dict[str, Any]]
    num_pdb_violations: int = msgspec.field(name="numPDBViolations", default=0)


class ExtenderPreemptionArgs(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A pod, and either pods by node or their uids. Fields are read in any case."""

    pod: dict[str, Any]
    node_name_to_victims: dict[str, Victims] | None = None
    node_name_to_meta_victims: dict[str, MetaVictims] | None = None


class ExtenderBindingArgs(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A pod and a node. Fields are read in any case."""

    pod_name: str
    pod_namespace: str
    pod_uid: str = msgspec.field(name="podUID")
    node: str


OPERATIONS: Final = (
    Operation(
        path="/extender/filter",
        method="post",
        summary="Which nodes would do for a pod",
        body=ExtenderArgs,
        answer=FilterResult,
        problems=(400, 503),
    ),
    Operation(
        path="/extender/prioritize",
        method="post",
        summary="How good each node is for a pod, from 0 to 10",
        body=ExtenderArgs,
        answer=list[HostPriority],
        problems=(400, 500, 503),
    ),
    Operation(
        path="/extender/preempt",
        method="post",
        summary="On which nodes a pod may preempt without tearing a gang",
        body=ExtenderPreemptionArgs,
        answer=PreemptionResult,
        problems=(400, 503),
    ),
    Operation(
        path="/extender/bind",
        method="post",
        summary="Bind a pod to a node",
        body=ExtenderBindingArgs,
        answer=BindingResult,
        problems=(400,),
    ),
)


def install_extender(app: Flask, *, extender: Extender) -> None:
    """Add the routes."""

    @app.post("/extender/filter")
    def extender_filter() -> Response:
        args = _read(read_args)
        answer = _ask(
            extender,
            Question(
                profile=extender.profile,
                answer=lambda cycle, _: filter_nodes(
                    cycle, pod=args.pod, candidates=args.candidates
                ),
            ),
        )
        return _respond(answer, in_go_case=args.in_go_case)

    @app.post("/extender/prioritize")
    def extender_prioritize() -> Response:
        args = _read(read_args)
        answer = _ask(
            extender,
            Question(
                profile=extender.profile,
                answer=lambda cycle, now_s: rate_nodes(
                    cycle, pod=args.pod, candidates=args.candidates, now_s=now_s
                ),
                awaits=args.pod,
            ),
        )
        return _respond(answer, in_go_case=args.in_go_case)

    @app.post("/extender/preempt")
    def extender_preempt() -> Response:
        args = _read(read_preemption)
        answer = _ask(
            extender,
            Question(
                profile=extender.profile,
                answer=lambda cycle, _: trim_victims(cycle.snapshot, victims=args.victims.items()),
            ),
        )
        return _respond(answer, in_go_case=args.in_go_case)

    @app.post("/extender/bind")
    def extender_bind() -> Response:
        args = _read(read_binding)
        action = Bind(args.pod, args.node, prediction_id="")
        error = extender.shell.bind(action, timeout_s=extender.timeout_s)
        return _respond(BindingResult(error=error), in_go_case=args.in_go_case)


def _read(reader: Callable[[bytes], T]) -> T:
    try:
        return reader(request.get_data(cache=False))
    except BadQuestionError as error:
        problem = _problem_of(error)
        raise problem from error


def _ask(extender: Extender, question: Question[T]) -> T:
    """Ask the engine.

    Raises:
        ProblemError: 400 for a node that makes no sense, which is read only where it is not known;
            503 if there is no answer now; 500 for a plugin that broke its contract.
    """
    try:
        return extender.shell.ask(question, timeout_s=extender.timeout_s)
    except BadQuestionError as error:
        problem = _problem_of(error)
        raise problem from error
    except NoAnswerError as error:
        raise ProblemError(503, "Not now", detail=str(error)) from error
    except PluginError as error:
        raise ProblemError(500, "Plugin error", detail=str(error)) from error


def _problem_of(error: BadQuestionError) -> ProblemError:
    what = invalid(str(error)).details
    field = ".".join(part for part in (error.field, what.field) if part)
    return ProblemError(400, "Invalid request", detail=what.detail, field=field)


def _respond(answer: Answer | list[HostPriority], *, in_go_case: bool) -> Response:
    return Response(encode(answer, in_go_case=in_go_case), mimetype=JSON)
