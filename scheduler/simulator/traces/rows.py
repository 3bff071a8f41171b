"""What a row of recorded nodes or pods says; ``scheduler.simulator.traces.tables`` reads files.

Columns bear the names of the fields; a column that has a default may be left out, and so may a
value in it. Times are seconds of one clock: Unix time, or since any other instant. CPU is in
millicores, memory in bytes.
"""

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

MAX_AMOUNT: Final = 2**53
"""What all programs that write CSV can tell exactly."""
_LAST_S: Final = 10**11
"""No time lies later; what does is in milliseconds."""
_NAME: Final = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"

PodName = Annotated[str, Meta(max_length=230, pattern=f"^{_NAME}$")]
"""As Kubernetes allows, with some room to tell pods of one name apart."""
WorkloadName = Annotated[str, Meta(max_length=200, pattern=f"^({_NAME})?$")]
Time = Annotated[float, Meta(ge=0, le=_LAST_S)]
Amount = Annotated[int, Meta(ge=0, le=MAX_AMOUNT)]
Capacity = Annotated[int, Meta(ge=1, le=MAX_AMOUNT)]

REPLACED_KINDS: Final = frozenset(
    {"DaemonSet", "Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"}
)
"""Workloads whose pods are made anew when they fail."""

_LABEL_KEY: Final = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[\w]([\w.-]{0,61}[\w])?")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?", re.ASCII)
Effect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
EFFECTS: Final[tuple[Effect, ...]] = ("NoSchedule", "PreferNoSchedule", "NoExecute")
TaintParts = tuple[str, str, Effect]
"""Key, value and effect."""


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row."""


class NodeRow(Row, frozen=True, kw_only=True):
    """A node."""

    name: Annotated[str, Meta(max_length=253, pattern=f"^{_NAME}$")]
    cpu_milli: Capacity
    """Capacity, as ``memory_bytes``."""
    memory_bytes: Capacity
    allocatable_cpu_milli: Capacity | None = None
    """What pods may request; if left out, the capacity less what is usually kept for the system.
    So is the next."""
    allocatable_memory_bytes: Capacity | None = None
    max_pods: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    """What the kubelet takes."""
    labels: str = ""
    """``key=value``, separated by commas."""
    taints: str = ""
    """``key=value:effect`` or ``key:effect``, separated by commas."""

    def __post_init__(self) -> None:
        """Refuse what each column allows by itself, but which makes no sense.

        Raises:
            ValueError: Names the column.
        """
        for name in ("cpu_milli", "memory_bytes"):
            allocatable = getattr(self, f"allocatable_{name}")
            if allocatable is not None and allocatable > getattr(self, name):
                raise ValueError(f"allocatable_{name}: is more than {name}")
        parse_labels("labels", self.labels)
        parse_taints("taints", self.taints)

    @property
    def label_map(self) -> dict[str, str]:
        """The labels."""
        return parse_labels("labels", self.labels)

    @property
    def taint_list(self) -> list[TaintParts]:
        """The taints."""
        return parse_taints("taints", self.taints)


class Constraints(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The parts of a pod's spec that say where it may run, as Kubernetes writes them."""

    node_selector: dict[str, str] | None = None
    affinity: dict[str, Any] | None = None
    tolerations: list[dict[str, Any]] | None = None
    topology_spread_constraints: list[dict[str, Any]] | None = None


class PodRow(Row, frozen=True, kw_only=True):
    """A pod, from when it was asked for until it ended."""

    name: PodName
    created_at_s: Time
    """When it was asked for."""
    cpu_request_milli: Amount
    """Of all its containers; 0 is none. So are the other amounts."""
    memory_request_bytes: Amount
    namespace: Annotated[str, Meta(max_length=63, pattern=f"^{_NAME}$")] = "default"
    workload: WorkloadName = ""
    """What it is a replica of; if left out, it stands for itself."""
    workload_kind: Annotated[str, Meta(max_length=63, pattern=r"^([A-Z]\w*)?$")] = ""
    """``Deployment``, ``Job``… If left out, ``Job`` of a pod with ``run_s``, else
    ``Deployment``."""
    run_s: Annotated[float, Meta(gt=0, le=_LAST_S)] | None = None
    """Work, in seconds from its start, after which it ended by itself."""
    ended_at_s: Time | None = None
    """When its owner took it away. Without this and ``run_s`` it outlasts the recording."""
    cpu_limit_milli: Capacity | None = None
    memory_limit_bytes: Capacity | None = None
    priority: Annotated[int, Meta(ge=-(2**31), lt=2**31)] = 0
    node: str = ""
    """Where it ran; told, and not replayed. So is the next."""
    placed_at_s: Time | None = None
    """When it was given a node."""
    labels: str = ""
    """As those of nodes."""
    constraints: str = ""
    """JSON: ``nodeSelector``, ``affinity``, ``tolerations`` and ``topologySpreadConstraints`` as
    in its spec."""

    def __post_init__(self) -> None:
        """Refuse what each column allows by itself, but which makes no sense.

        Raises:
            ValueError: Names the column.
        """
        if self.run_s is not None and self.ended_at_s is not None:
            raise ValueError("ended_at_s: a pod has this, or run_s")
        if self.ended_at_s is not None and self.ended_at_s < self.created_at_s:
            raise ValueError("ended_at_s: is before created_at_s")
        if self.workload_kind and not self.workload:
            raise ValueError("workload_kind: of which workload?")
        for limit, request in (
            ("cpu_limit_milli", self.cpu_request_milli),
            ("memory_limit_bytes", self.memory_request_bytes),
        ):
            if (getattr(self, limit) or MAX_AMOUNT) < request:
                raise ValueError(f"{limit}: is less than the request")
        parse_labels("labels", self.labels)
        self.constraint_fields  # noqa: B018 (read for its refusals)

    @property
    def kind(self) -> str:
        """The workload's kind; ``Pod`` of one that stands for itself."""
        if not self.workload:
            return "Pod"
        return self.workload_kind or ("Deployment" if self.run_s is None else "Job")

    @property
    def owner(self) -> str:
        """The workload's name, or the pod's own."""
        return self.workload or self.name

    @property
    def is_replaced(self) -> bool:
        """Whether it would be made anew if it failed."""
        return self.kind in REPLACED_KINDS and self.run_s is None

    @property
    def label_map(self) -> dict[str, str]:
        """The labels."""
        return parse_labels("labels", self.labels)

    @property
    def constraint_fields(self) -> dict[str, Any]:
        """The constraints, as fields of a pod's spec.

        Raises:
            ValueError: They are not; of a row that exists, they are.
        """
        if not self.constraints:
            return {}
        try:
            found = _CONSTRAINTS.decode(self.constraints)
        except msgspec.DecodeError as error:
            raise ValueError(f"constraints: {error}") from error
        fields = msgspec.to_builtins(found)
        return {name: value for name, value in fields.items() if value is not None}


_CONSTRAINTS: Final = msgspec.json.Decoder(Constraints)


def parse_labels(column: str, text: str) -> dict[str, str]:
    """Read labels, ``key=value`` separated by commas.

    Raises:
        ValueError: The message names the column.
    """
    labels = {}
    for part in filter(None, text.split(",")):
        key, sign, value = part.partition("=")
        is_valid = sign and _LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value)
        if not is_valid:
            raise ValueError(f"{column}: {part[:100]!r} is no label (key=value)")
        labels[key] = value
    return labels


def parse_taints(column: str, text: str) -> list[TaintParts]:
    """Read taints, ``key=value:effect`` separated by commas.

    Raises:
        ValueError: The message names the column.
    """
    return [_parse_taint(column, part) for part in text.split(",") if part]


def _parse_taint(column: str, text: str) -> TaintParts:
    label, _, effect = text.rpartition(":")
    key, _, value = label.partition("=")
    for known in EFFECTS:
        if effect == known and _LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value):
            return key, value, known
    raise ValueError(f"{column}: {text[:100]!r} is no taint (key=value:effect)")


def write_labels(labels: dict[str, str]) -> str:
    """Write labels as a column holds them."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def write_taints(taints: list[TaintParts]) -> str:
    """Write taints as a column holds them."""
    return ",".join(
        f"{key}={value}:{effect}" if value else f"{key}:{effect}" for key, value, effect in taints
    )
