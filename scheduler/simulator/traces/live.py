"""A living cluster's nodes and pods as rows. Of a pod's spec, only what placing it depends on."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from kube.client import Client
from kube.decoding import decode_object
from kube.health import last_end
from kube.objects import Node, Pod, controller_of
from kube.quantity import CPU, MEMORY, QuantityError, parse_amounts
from kube.workload import workload_of
from scheduler.model import annotated_priority
from scheduler.simulator.traces.rows import (
    EFFECTS,
    MAX_AMOUNT,
    REPLACED_KINDS,
    Constraints,
    NodeRow,
    PodRow,
    TaintParts,
    write_labels,
    write_taints,
)

_OF_THE_CLUSTER: Final = "node.kubernetes.io/"
"""Taints of this kind come and go with a node's state, and tolerations of them with admission."""
_MAX_NAME_CHARS: Final = 230
_PODS: Final = "pods"
_NOT_COUNTED: Final = frozenset({CPU, MEMORY, "ephemeral-storage"})


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    node_selector: dict[str, str] | None = None
    affinity: dict[str, Any] | None = None
    tolerations: list[dict[str, Any]] | None = None
    topology_spread_constraints: list[dict[str, Any]] | None = None


class _Constrained(msgspec.Struct, frozen=True):
    """A pod, with what says where it may run left as it is written."""

    spec: _Spec = _Spec()


@dataclass(slots=True)
class LiveCluster:
    """What the API server tells."""

    nodes: list[NodeRow] = field(default_factory=list)
    pods: dict[str, PodRow] = field(default_factory=dict)
    """By uid."""
    n_cordoned: int = 0
    other_resources: Counter[str] = field(default_factory=Counter)
    """How many pods ask for what is not recorded."""
    n_malformed: int = 0
    """Nodes and pods whose amounts are no quantities; they are left out."""


def read_cluster(client: Client) -> LiveCluster:
    """Read all nodes and pods.

    Raises:
        KubeError: The API server does not answer, or refuses.
    """
    cluster = LiveCluster()
    nodes, _ = client.list_objects("/api/v1/nodes", Node)
    for node in nodes:
        _take_node(cluster, node)
    raw_pods, _ = client.list_objects("/api/v1/pods", msgspec.Raw)
    for raw in raw_pods:
        _take_pod(cluster, decode_object(raw, Pod), decode_object(raw, _Constrained).spec)
    return cluster


def _take_node(cluster: LiveCluster, node: Node) -> None:
    try:
        allocatable = node.status.allocatable_amounts
        capacity = {**allocatable, **parse_amounts(node.status.capacity or {})}
        row = NodeRow(
            name=node.metadata.name,
            cpu_milli=_amount(capacity[CPU]),
            memory_bytes=_amount(capacity[MEMORY]),
            allocatable_cpu_milli=_amount(allocatable[CPU]),
            allocatable_memory_bytes=_amount(allocatable[MEMORY]),
            max_pods=allocatable.get(_PODS) or None,
            labels=write_labels(node.metadata.labels or {}),
            taints=write_taints(_taints(node)),
        )
    except (QuantityError, LookupError):
        cluster.n_malformed += 1
        return
    cluster.n_cordoned += bool(node.spec.unschedulable)
    cluster.nodes.append(row)


def _taints(node: Node) -> list[TaintParts]:
    found: list[TaintParts] = []
    for taint in node.spec.taints or ():
        effect = next((known for known in EFFECTS if known == taint.effect), None)
        if effect is not None and not taint.key.startswith(_OF_THE_CLUSTER):
            found.append((taint.key, taint.value or "", effect))
    return found


def _take_pod(cluster: LiveCluster, pod: Pod, spec: _Spec) -> None:
    try:
        requests = pod.spec.requests
        row = _pod_row(pod, spec, requests)
    except QuantityError:
        cluster.n_malformed += 1
        return
    for name in requests.keys() - _NOT_COUNTED:
        cluster.other_resources[name] += 1
    if row is not None:
        cluster.pods[pod.metadata.uid or pod.key] = row


def _pod_row(pod: Pod, spec: _Spec, requests: dict[str, int]) -> PodRow | None:
    meta = pod.metadata
    namespace, kind, name = workload_of(pod).split("/", 2)
    created_s = _seconds(meta.creation_timestamp)
    placed_s = _seconds(_scheduled_at(pod))
    if created_s is None:
        return None
    began_s = created_s if placed_s is None else placed_s
    annotated = annotated_priority(meta.annotations or {})
    cpu_milli, memory_bytes = requests.get(CPU, 0), requests.get(MEMORY, 0)
    row = PodRow(
        name=meta.name[:_MAX_NAME_CHARS].rstrip("-."),
        namespace=namespace,
        workload="" if kind == "Pod" else name[:200].rstrip("-."),
        workload_kind="" if kind == "Pod" else kind,
        created_at_s=created_s,
        placed_at_s=placed_s,
        cpu_request_milli=_amount(cpu_milli),
        memory_request_bytes=_amount(memory_bytes),
        cpu_limit_milli=_limit(pod, CPU, least=cpu_milli),
        memory_limit_bytes=_limit(pod, MEMORY, least=memory_bytes),
        priority=pod.spec.priority or 0 if annotated is None else annotated,
        node=pod.spec.node_name,
        labels=write_labels(meta.labels or {}),
        constraints=_constraints(spec),
    )
    owner = controller_of(meta)
    if owner is not None and owner.kind == "Node":
        row = pinned(row, node=pod.spec.node_name)
    return ended(row, began_s=began_s, at_s=_end_of(pod))


def _end_of(pod: Pod) -> float | None:
    """Tell when a pod ended, or is to be gone."""
    if pod.status.phase not in ("Succeeded", "Failed"):
        return _seconds(pod.metadata.deletion_timestamp)
    end_s = _seconds(last_end(pod))
    if end_s is None:  # evicted before it ran: conditions tell when that was
        changes = [c.last_transition_time for c in pod.status.conditions or ()]
        end_s = _seconds(max((at for at in changes if at is not None), default=None))
    return _seconds(pod.metadata.creation_timestamp) if end_s is None else end_s


def ended(row: PodRow, *, began_s: float, at_s: float | None) -> PodRow:
    """Tell of a pod when it ended: what a workload replaces was taken away, the rest had worked.

    Args:
        row: The pod, without an end.
        began_s: When it began to work.
        at_s: When it ended; ``None``: it has not.
    """
    if at_s is None:
        return row
    if row.workload and row.kind in REPLACED_KINDS:
        return msgspec.structs.replace(row, ended_at_s=max(row.created_at_s, at_s))
    return msgspec.structs.replace(row, run_s=max(1.0, at_s - began_s))


def pinned(row: PodRow, *, node: str) -> PodRow:
    """Bind a pod to its node, as pods of DaemonSets and of nodes themselves are."""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"nodeSelectorTerms": [term]}
    fields = row.constraint_fields
    affinity = {
        **(fields.get("affinity") or {}),
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required},
    }
    constraints = msgspec.json.encode({**fields, "affinity": affinity}).decode()
    return msgspec.structs.replace(row, constraints=constraints)


def _constraints(spec: _Spec) -> str:
    tolerations = [
        each
        for each in spec.tolerations or ()
        if not str(each.get("key", "")).startswith(_OF_THE_CLUSTER)
    ]
    parts = Constraints(
        node_selector=spec.node_selector or None,
        affinity=spec.affinity or None,
        tolerations=tolerations or None,
        topology_spread_constraints=spec.topology_spread_constraints or None,
    )
    fields = {name: each for name, each in msgspec.to_builtins(parts).items() if each is not None}
    return msgspec.json.encode(fields).decode() if fields else ""


def _limit(pod: Pod, resource: str, *, least: int) -> int | None:
    """Sum up limits; ``None`` if a container has none."""
    limits = [container.limits.get(resource) for container in pod.spec.containers or ()]
    known = [limit for limit in limits if limit]
    if not limits or len(known) < len(limits):
        return None
    return _amount(max(least, sum(known)))


def _scheduled_at(pod: Pod) -> datetime | None:
    conditions: Iterable[Any] = pod.status.conditions or ()
    return next(
        (
            c.last_transition_time
            for c in conditions
            if c.type == "PodScheduled" and c.status == "True"
        ),
        None,
    )


def _seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()


def _amount(amount: int) -> int:
    return max(0, min(MAX_AMOUNT, amount))
