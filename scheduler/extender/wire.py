"""Upstream's extender types on the wire (``k8s.io/kube-scheduler/extender/v1``).

Those Go types carry no JSON names: kube-scheduler writes ``NodeNames`` and reads any case, while
clients written after older releases say ``nodenames``. So any case is read here, and the answer is
spelled as the question was. The Kubernetes objects inside have their usual names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from kube.objects import Node
from kube.quantity import QuantityError
from scheduler.model import NodeFacts, PodFacts

T = TypeVar("T")


class BadQuestionError(Exception):
    """A question that makes no sense.

    Args:
        message: What is wrong, in msgspec's words if they are.
        field: The offending field, dotted.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


# ---------------------------------------------------------------------------------------- answers


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an extender answers; ``encode`` spells it."""


class FilterResult(Answer, frozen=True):
    """Which nodes would do (``ExtenderFilterResult``)."""

    nodes: dict[str, msgspec.Raw | list[msgspec.Raw]] | None = None
    """The ``NodeList`` of the question without the others, if that had one."""
    node_names: list[str] | None = msgspec.field(name="nodenames", default=None)
    """Their names, if the question had names."""
    failed_nodes: dict[str, str] = {}
    """Why the others would not."""
    failed_and_unresolvable_nodes: dict[str, str] = {}
    """Those where no eviction would help."""
    error: str = ""


class HostPriority(Answer, frozen=True):
    """How good a node is."""

    host: str
    score: int
    """0 to 10."""


class MetaPod(Answer, frozen=True):
    """A pod by its uid."""

    uid: str


class MetaVictims(Answer, frozen=True):
    """Pods that would have to go from a node."""

    pods: list[MetaPod]
    num_pdb_violations: int = msgspec.field(name="numPDBViolations", default=0)


class PreemptionResult(Answer, frozen=True):
    """Which nodes may be preempted on (``ExtenderPreemptionResult``)."""

    node_name_to_meta_victims: dict[str, MetaVictims]


class BindingResult(Answer, frozen=True):
    """Whether a pod was bound (``ExtenderBindingResult``)."""

    error: str = ""
    """Why not; empty if it was."""


_GO_NAMES: Final = {"nodenames": "NodeNames", "uid": "UID"}
"""Where the Go name is more than the other with a capital."""


def encode(answer: Answer | list[HostPriority], *, in_go_case: bool) -> bytes:
    """Write an answer, in Go's names or in those of older releases."""
    return msgspec.json.encode(_in_go_case(answer) if in_go_case else answer)


def _in_go_case(value: Any) -> Any:
    if isinstance(value, Answer):
        return {
            _GO_NAMES.get(f.encode_name, f.encode_name[0].upper() + f.encode_name[1:]): _in_go_case(
                getattr(value, f.name)
            )
            for f in msgspec.structs.fields(value)
        }
    if isinstance(value, list):
        return [_in_go_case(each) for each in value]
    if isinstance(value, dict):
        return {key: _in_go_case(each) for key, each in value.items()}
    return value


# -------------------------------------------------------------------------------------- questions


@dataclass(frozen=True, slots=True)
class Candidates:
    """The nodes that a question is about."""

    names: tuple[str, ...]
    """In the question's order."""
    items: Mapping[str, msgspec.Raw] | None = None
    """The nodes themselves by name; ``None`` if only names were given."""
    envelope: Mapping[str, msgspec.Raw] | None = None
    """The ``NodeList`` that they came in."""

    def facts(self, name: str) -> NodeFacts | None:
        """Read a node; ``None`` if only its name was given.

        Raises:
            BadQuestionError: It is no node.
        """
        if self.items is None:
            return None
        where = f"nodes.items.{name}"
        try:
            return NodeFacts.from_node(decode(self.items[name], Node, field=where))
        except QuantityError as error:
            raise BadQuestionError(str(error), field=where) from error

    def only(self, names: Iterable[str]) -> dict[str, msgspec.Raw | list[msgspec.Raw]] | None:
        """Return the ``NodeList`` with no more than *names*; ``None`` if there was none."""
        if self.items is None or self.envelope is None:
            return None
        return {**self.envelope, "items": [self.items[name] for name in names]}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtenderArgs:
    """Which of these nodes would do for a pod, and how well."""

    pod: PodFacts
    candidates: Candidates
    in_go_case: bool


@dataclass(frozen=True, slots=True)
class Victims:
    """Pods that kube-scheduler would evict from a node."""

    pods: Mapping[str, PodFacts | None]
    """By uid; ``None`` if only the uid was given."""
    n_violations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PreemptionArgs:
    """On which of these nodes a pod may preempt."""

    pod: PodFacts
    victims: Mapping[str, Victims]
    """By node."""
    in_go_case: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingArgs:
    """Bind this pod to this node."""

    pod: PodFacts
    """Its namespace, name and uid: more is not said."""
    node: str
    in_go_case: bool


def decode(data: bytes | msgspec.Raw, kind: type[T], *, field: str) -> T:
    """Read a part of a question; *field* is its place.

    Raises:
        BadQuestionError: It is something else.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadQuestionError(str(error), field=field) from error
