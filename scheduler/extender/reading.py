"""Reads the questions of an extender's client."""

from typing import Final, TypeVar

import msgspec

from kube.objects import Pod
from kube.quantity import QuantityError
from scheduler.extender.wire import (
    BadQuestionError,
    BindingArgs,
    Candidates,
    ExtenderArgs,
    PreemptionArgs,
    Victims,
    decode,
)
from scheduler.model import PodFacts

T = TypeVar("T")

_NULL: Final = msgspec.Raw(b"null")


def read_args(body: bytes) -> ExtenderArgs:
    """Read ``ExtenderArgs``.

    Raises:
        BadQuestionError: They make no sense; names the field.
    """
    given = _Fields(body)
    pod = _read_pod(given)
    nodes, names = given.raw("nodes"), given.raw("nodenames")
    if (nodes is None) == (names is None):
        raise BadQuestionError("either nodes or nodenames must be given", field="nodes")
    if names is not None:
        candidates = Candidates(tuple(decode(names, list[str], field="nodenames")))
    else:
        candidates = _read_nodes(given)
    if len(set(candidates.names)) < len(candidates.names):
        where = "nodes.items" if candidates.items is not None else "nodenames"
        raise BadQuestionError("a node is given twice", field=where)
    return ExtenderArgs(pod=pod, candidates=candidates, in_go_case=given.in_go_case)


def read_preemption(body: bytes) -> PreemptionArgs:
    """Read ``ExtenderPreemptionArgs``.

    Raises:
        BadQuestionError: They make no sense; names the field.
    """
    given = _Fields(body)
    pod = _read_pod(given)
    full, meta = given.raw("nodenametovictims"), given.raw("nodenametometavictims")
    if (full is None) == (meta is None):
        what = "either nodeNameToVictims or nodeNameToMetaVictims must be given"
        raise BadQuestionError(what, field="nodeNameToVictims")
    field = "nodeNameToVictims" if meta is None else "nodeNameToMetaVictims"
    by_node = given.required(field, dict[str, msgspec.Raw])
    return PreemptionArgs(
        pod=pod,
        victims={
            node: _read_victims(raw, field=f"{field}.{node}") for node, raw in by_node.items()
        },
        in_go_case=given.in_go_case,
    )


def read_binding(body: bytes) -> BindingArgs:
    """Read ``ExtenderBindingArgs``.

    Raises:
        BadQuestionError: They make no sense; names the field.
    """
    given = _Fields(body)
    namespace, name, uid, node = (
        given.text(field) for field in ("podNamespace", "podName", "podUID", "node")
    )
    return BindingArgs(
        pod=PodFacts(namespace=namespace, name=name, uid=uid),
        node=node,
        in_go_case=given.in_go_case,
    )


class _Fields:
    """The fields of one of upstream's extender types, whatever their case."""

    def __init__(self, data: bytes | msgspec.Raw, *, field: str = "") -> None:
        decoded = decode(data, dict[str, msgspec.Raw], field=field)
        self._prefix = f"{field}." if field else ""
        self._fields = {name.lower(): raw for name, raw in decoded.items()}
        self.in_go_case = any(name[:1].isupper() for name in decoded)

    def raw(self, name: str) -> msgspec.Raw | None:
        """Return a field as it is; ``None`` if it is absent, or null."""
        raw = self._fields.get(name.lower())
        return None if raw == _NULL else raw

    def required(self, name: str, kind: type[T]) -> T:
        raw = self.raw(name)
        if raw is None:
            raise BadQuestionError("it is missing", field=self._prefix + name)
        return decode(raw, kind, field=self._prefix + name)

    def text(self, name: str) -> str:
        text = self.required(name, str)
        if not text:
            raise BadQuestionError("it is empty", field=self._prefix + name)
        return text


def _read_pod(given: _Fields) -> PodFacts:
    return _facts_of(given.required("pod", Pod), field="pod")


def _facts_of(pod: Pod, *, field: str) -> PodFacts:
    if not pod.metadata.name:
        raise BadQuestionError("a pod has a name", field=f"{field}.metadata.name")
    try:
        return PodFacts.from_pod(pod)
    except QuantityError as error:
        raise BadQuestionError(str(error), field=f"{field}.spec") from error


class _NamedMeta(msgspec.Struct, frozen=True, gc=False):
    name: str


class _Named(msgspec.Struct, frozen=True, gc=False):
    """As much of a node as tells which it is."""

    metadata: _NamedMeta


def _read_nodes(given: _Fields) -> Candidates:
    envelope = given.required("nodes", dict[str, msgspec.Raw])
    items = _read_list(envelope.get("items"), field="nodes.items")
    by_name = [
        (decode(item, _Named, field=f"nodes.items[{i}]").metadata.name, item)
        for i, item in enumerate(items)
    ]
    names = tuple(name for name, _ in by_name)
    return Candidates(names, items=dict(by_name), envelope=envelope)


def _read_victims(raw: msgspec.Raw, *, field: str) -> Victims:
    given = _Fields(raw, field=field)
    n_violations = given.raw("numPDBViolations")
    pods: dict[str, PodFacts | None] = {}
    for i, each in enumerate(_read_list(given.raw("pods"), field=f"{field}.pods")):
        where = f"{field}.pods[{i}]"
        uid, facts = _read_victim(each, field=where)
        pods[uid] = facts
    return Victims(
        pods,
        0 if n_violations is None else decode(n_violations, int, field=f"{field}.numPDBViolations"),
    )


def _read_victim(raw: msgspec.Raw, *, field: str) -> tuple[str, PodFacts | None]:
    # Not a MetaPod, which has no more than a uid, but a whole pod: it has metadata.
    given = _Fields(raw, field=field)
    if given.raw("metadata") is None:
        return given.text("uid"), None
    facts = _facts_of(decode(raw, Pod, field=field), field=field)
    if not facts.uid:
        raise BadQuestionError("it is empty", field=f"{field}.metadata.uid")
    return facts.uid, facts


def _read_list(raw: msgspec.Raw | None, *, field: str) -> list[msgspec.Raw]:
    """Read a list; Go writes an empty one as null."""
    return [] if raw is None or raw == _NULL else decode(raw, list[msgspec.Raw], field=field)
