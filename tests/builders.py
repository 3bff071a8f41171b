"""Builders of Kubernetes objects: a test names what matters to it, the rest has sane values.

``make_pod()`` and ``make_node()`` give typed objects (``kube.objects``); ``to_wire(obj)`` gives the
JSON document that an API server would send for one.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from kube.objects import (
    Affinity,
    Condition,
    Container,
    ContainerPort,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodSpec,
    PodStatus,
    ResourceRequirements,
    Taint,
    Toleration,
)

EPOCH_S = 1_790_000_000.0
"""When things happen in tests, unless they say otherwise (Unix time)."""


def at(seconds: float) -> datetime:
    """Give the instant *seconds* after ``EPOCH_S``."""
    return datetime.fromtimestamp(EPOCH_S + seconds, UTC)


def make_meta(name: str, *, namespace: str = "", **fields: Any) -> ObjectMeta:
    """Make metadata; the uid follows from the name unless given."""
    fields.setdefault("uid", f"uid-of-{namespace}/{name}" if namespace else f"uid-of-{name}")
    fields.setdefault("resource_version", "1")
    fields.setdefault("creation_timestamp", at(0))
    return ObjectMeta(name=name, namespace=namespace, **fields)


def make_container(
    name: str = "app",
    *,
    requests: Mapping[str, str] | None = None,
    limits: Mapping[str, str] | None = None,
    image: str = "registry.example/app:1",
    host_ports: Sequence[int] = (),
    restart_policy: str | None = None,
) -> Container:
    """Make a container; ``restart_policy="Always"`` makes a sidecar of an init container."""
    return Container(
        name=name,
        image=image,
        resources=ResourceRequirements(
            requests=dict(requests) if requests is not None else None,
            limits=dict(limits) if limits is not None else None,
        ),
        ports=[ContainerPort(container_port=p, host_port=p) for p in host_ports] or None,
        restart_policy=restart_policy,
    )


def make_pod(
    name: str = "web-1",
    *,
    namespace: str = "default",
    uid: str | None = None,
    version: str = "1",
    requests: Mapping[str, str] | None = None,
    limits: Mapping[str, str] | None = None,
    containers: Sequence[Container] | None = None,
    init_containers: Sequence[Container] | None = None,
    overhead: Mapping[str, str] | None = None,
    host_ports: Sequence[int] = (),
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    priority_annotation: str | int | None = None,
    priority: int | None = None,
    group: str | None = None,
    group_size: int | None = None,
    scheduler_name: str = "ai-scheduler",
    node: str = "",
    node_selector: Mapping[str, str] | None = None,
    required_labels: Mapping[str, Sequence[str]] | None = None,
    affinity: Affinity | None = None,
    tolerations: Sequence[Toleration] | None = None,
    owner: tuple[str, str] | None = None,
    phase: str | None = None,
    reason: str | None = None,
    created_at: datetime | None = None,
    deleted_at: datetime | None = None,
    started_at: datetime | None = None,
    ready_at: datetime | None = None,
    statuses: Sequence[ContainerStatus] | None = None,
    init_statuses: Sequence[ContainerStatus] | None = None,
    conditions: Sequence[Condition] = (),
    nominated_node: str | None = None,
) -> Pod:
    """Make a pod.

    Args:
        name: As in metadata.
        namespace: As in metadata.
        uid: Follows from the name unless given.
        version: The resourceVersion.
        requests: Of its only container, such as ``{"cpu": "500m", "memory": "512Mi"}``.
        limits: Of its only container.
        containers: Instead of one container with *requests*, *limits* and *host_ports*.
        init_containers: In their order.
        overhead: Of the runtime class.
        host_ports: Of its only container.
        labels: As in metadata.
        annotations: Beside those that other arguments make.
        priority_annotation: The annotation ``priority``.
        priority: ``spec.priority``.
        group: The annotation ``pod-group``.
        group_size: The annotation ``pod-group-size``.
        scheduler_name: Who is to schedule it.
        node: Where it is bound to; empty if it is not.
        node_selector: Labels that a node must have.
        required_labels: Required node affinity: label to allowed values (In).
        affinity: Instead of *required_labels*.
        tolerations: In their order.
        owner: Kind and name of its controller.
        phase: Running if it is ready, else Pending.
        reason: ``status.reason``, such as Evicted.
        created_at: ``at(0)`` unless given.
        deleted_at: When its deletion was asked for.
        started_at: ``status.startTime``.
        ready_at: When it became Ready.
        statuses: Of its containers, see ``make_container_status``.
        init_statuses: Of its init containers.
        conditions: Beside Ready.
        nominated_node: Where room is being made for it.
    """
    marks = {"priority": priority_annotation, "pod-group": group, "pod-group-size": group_size}
    all_annotations = {
        **{key: str(value) for key, value in marks.items() if value is not None},
        **(annotations or {}),
    }
    if affinity is None and required_labels:
        affinity = require_labels(required_labels)
    all_conditions = list(conditions)
    if ready_at is not None:
        all_conditions.append(make_condition("Ready", since=ready_at))
    return Pod(
        metadata=make_meta(
            name,
            namespace=namespace,
            uid=uid or f"uid-of-{namespace}/{name}",
            resource_version=version,
            creation_timestamp=created_at or at(0),
            deletion_timestamp=deleted_at,
            labels=dict(labels) if labels is not None else None,
            annotations=all_annotations or None,
            owner_references=None
            if owner is None
            else [
                OwnerReference(
                    kind=owner[0], name=owner[1], uid=f"uid-of-{owner[1]}", controller=True
                )
            ],
        ),
        spec=PodSpec(
            containers=list(containers)
            if containers is not None
            else [make_container(requests=requests, limits=limits, host_ports=host_ports)],
            init_containers=list(init_containers) if init_containers is not None else None,
            node_name=node,
            scheduler_name=scheduler_name,
            priority=priority,
            node_selector=dict(node_selector) if node_selector is not None else None,
            affinity=affinity,
            tolerations=list(tolerations) if tolerations is not None else None,
            overhead=dict(overhead) if overhead is not None else None,
        ),
        status=PodStatus(
            phase=phase or ("Running" if ready_at is not None else "Pending"),
            reason=reason,
            conditions=all_conditions or None,
            nominated_node_name=nominated_node,
            container_statuses=list(statuses) if statuses is not None else None,
            init_container_statuses=list(init_statuses) if init_statuses is not None else None,
            start_time=started_at,
        ),
    )


def make_node(
    name: str = "n1",
    *,
    uid: str | None = None,
    version: str = "1",
    cpu: str = "4",
    memory: str = "8Gi",
    pods: str = "110",
    allocatable: Mapping[str, str] | None = None,
    capacity: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    taints: Sequence[Taint] | None = None,
    unschedulable: bool = False,
    ready: bool = True,
    conditions: Sequence[Condition] = (),
    created_at: datetime | None = None,
) -> Node:
    """Make a node.

    Args:
        name: As in metadata; the label ``kubernetes.io/hostname`` says the same.
        uid: Follows from the name unless given.
        version: The resourceVersion.
        cpu: Allocatable.
        memory: Allocatable.
        pods: Allocatable.
        allocatable: Further resources, or instead of the three above.
        capacity: The same as is allocatable unless given.
        labels: Beside the host name.
        taints: In their order.
        unschedulable: Whether it is cordoned.
        ready: The condition Ready.
        conditions: Beside Ready.
        created_at: ``at(0)`` unless given.
    """
    amounts = {"cpu": cpu, "memory": memory, "pods": pods, **(allocatable or {})}
    return Node(
        metadata=make_meta(
            name,
            uid=uid or f"uid-of-{name}",
            resource_version=version,
            creation_timestamp=created_at or at(0),
            labels={"kubernetes.io/hostname": name, **(labels or {})},
        ),
        spec=NodeSpec(
            unschedulable=unschedulable or None,
            taints=list(taints) if taints is not None else None,
        ),
        status=NodeStatus(
            capacity=dict(capacity) if capacity is not None else amounts,
            allocatable=amounts,
            conditions=[make_condition("Ready", status="True" if ready else "False"), *conditions],
        ),
    )


def make_condition(
    kind: str, *, status: str = "True", reason: str | None = None, since: datetime | None = None
) -> Condition:
    """Make a condition."""
    return Condition(type=kind, status=status, reason=reason, last_transition_time=since or at(0))


def make_container_status(
    name: str = "app",
    *,
    ready: bool = False,
    restarts: int = 0,
    waiting: str | None = None,
    running_since: datetime | None = None,
    terminated: tuple[int, str] | None = None,
    last_terminated: tuple[int, str] | None = None,
    ended_at: datetime | None = None,
) -> ContainerStatus:
    """Make a container's status.

    Args:
        name: Of the container.
        ready: Whether it is.
        restarts: How often it was restarted.
        waiting: Why it waits, such as ErrImagePull.
        running_since: When it started.
        terminated: Exit code and reason, such as ``(137, "OOMKilled")``.
        last_terminated: The same of its previous run.
        ended_at: When it was terminated.
    """
    state = ContainerState(
        waiting=ContainerStateWaiting(reason=waiting) if waiting is not None else None,
        running=ContainerStateRunning(started_at=running_since) if running_since else None,
        terminated=_terminated(terminated, ended_at),
    )
    last_state = ContainerState(terminated=_terminated(last_terminated, ended_at))
    return ContainerStatus(
        name=name, ready=ready, restart_count=restarts, state=state, last_state=last_state
    )


def _terminated(
    how: tuple[int, str] | None, ended_at: datetime | None
) -> ContainerStateTerminated | None:
    if how is None:
        return None
    return ContainerStateTerminated(exit_code=how[0], reason=how[1], finished_at=ended_at or at(0))


def require_labels(labels: Mapping[str, Sequence[str]]) -> Affinity:
    """Make a required node affinity: every label with one of its values."""
    wanted = [
        NodeSelectorRequirement(key=key, operator="In", values=list(values))
        for key, values in labels.items()
    ]
    term = NodeSelectorTerm(match_expressions=wanted)
    return Affinity(
        node_affinity=NodeAffinity(
            required_during_scheduling_ignored_during_execution=NodeSelector(
                node_selector_terms=[term]
            )
        )
    )


def to_wire(obj: msgspec.Struct) -> dict[str, Any]:
    """Give the JSON document of a typed object, without absent fields."""
    document: dict[str, Any] = _without_none(msgspec.to_builtins(obj))
    return document


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_none(v) for v in value]
    return value
