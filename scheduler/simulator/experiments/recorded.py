"""A recorded cluster, run again: its pods come when they came, and leave when they left.

A pod that its owner would replace is made by a ReplicaSet of its own with one replica, all of one
workload with one selector: one that is evicted comes again, and it leaves at its time whichever pod
it is by then. A pod whose work ends by itself is made as Jobs make them.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import msgspec

from kube.errors import ConflictError, NotFoundError
from scheduler.model import PRIORITY_ANNOTATION
from scheduler.plugins.defaults import SCHEDULER_NAME
from scheduler.simulator.chance import key_of
from scheduler.simulator.door import LocalClient
from scheduler.simulator.experiments.scenario import Recording
from scheduler.simulator.hardware import NodeSpec, NodeTraits
from scheduler.simulator.parameters import NodePhysics
from scheduler.simulator.resources import Object
from scheduler.simulator.timeline import Timeline
from scheduler.simulator.traces.rows import NodeRow, PodRow
from scheduler.simulator.usage import UsageModel, UsageProfile, UsageSeries
from scheduler.simulator.usage_traces import UsageLibrary

WORKLOAD_LABEL: Final = "simulator.ai-scheduler/workload"
_HASH_LABEL: Final = "pod-template-hash"
_REVISION_LABELS: Final = (_HASH_LABEL, "controller-revision-hash")
_MAX_LABEL_CHARS: Final = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPod:
    """A pod that is to come."""

    row: PodRow
    at_s: float
    """When it comes, Unix seconds of the scenario."""
    until_s: float
    """When its owner takes it away; infinite: never."""
    run_s: float
    """Work after which it ends by itself; infinite: never."""
    name: str
    """Its own, or that of the ReplicaSet which makes it."""

    @property
    def key(self) -> str:
        """Namespace and name."""
        return f"{self.row.namespace}/{self.name}"

    @property
    def path(self) -> str:
        """Where it is written to, and deleted."""
        if self.row.is_replaced:
            return f"/apis/apps/v1/namespaces/{self.row.namespace}/replicasets"
        return f"/api/v1/namespaces/{self.row.namespace}/pods"


class RecordedPods:
    """The pods of a recording that are there between two times, as they come.

    Args:
        pods: In order of their creation.
        from_s: The recording's time at which the scenario begins; who was there already comes then.
        start_s: The scenario's time then, Unix seconds.
        end_s: When the scenario ends; who comes later is left out.
    """

    def __init__(
        self, pods: Iterable[PodRow], *, from_s: float, start_s: float, end_s: float
    ) -> None:
        self.shift_s = start_s - from_s
        self.pods = tuple(_take(pods, shift_s=self.shift_s, start_s=start_s, end_s=end_s))
        self.by_key = {pod.key: pod for pod in self.pods}

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self  # nothing in it ever changes, and it is large


def _take(
    pods: Iterable[PodRow], *, shift_s: float, start_s: float, end_s: float
) -> Iterator[RecordedPod]:
    n_named: dict[str, int] = {}
    for row in pods:
        created_s = row.created_at_s + shift_s
        until_s = math.inf if row.ended_at_s is None else row.ended_at_s + shift_s
        run_s = math.inf if row.run_s is None else row.run_s
        if created_s < start_s:
            began_s = created_s if row.placed_at_s is None else row.placed_at_s + shift_s
            run_s -= max(0.0, start_s - began_s)
        if created_s >= end_s or until_s <= start_s or run_s <= 0:
            continue
        key = f"{row.namespace}/{row.name}"
        n_named[key] = n_named.get(key, 0) + 1
        yield RecordedPod(
            row=row,
            at_s=max(start_s, created_s),
            until_s=until_s,
            run_s=run_s,
            name=_name(row, n_named[key]),
        )


def _name(row: PodRow, number: int) -> str:
    """Name a pod, the *number*-th of its name, or its ReplicaSet."""
    if row.is_replaced:
        return f"{row.owner}-{_template_hash(row, number)}"
    return row.name if number == 1 else f"{row.name}-again-{number}"


def _template_hash(row: PodRow, number: int) -> str:
    return f"{key_of('recorded pod', row.namespace, row.name, number):016x}"[:10]


class Replay:
    """Lets recorded pods come and go at the API server's door.

    Args:
        pods: Those of the scenario's time.
    """

    def __init__(self, pods: RecordedPods) -> None:
        self._pods = pods
        self._n_come = 0
        self._ends: Timeline[RecordedPod] = Timeline()
        self._namespaces: set[str] = set()

    @property
    def next_at_s(self) -> float:
        """When there is something to do."""
        return min(self._next_arrival_s, self._ends.next_at_s)

    def act(self, client: LocalClient) -> None:
        """Do what is due."""
        now_s = client.now_s()
        while (due := self._ends.pop(now_s)) is not None:
            pod = due[1]
            body = msgspec.json.encode({"propagationPolicy": "Background"})
            with suppress(NotFoundError):  # ended, and swept away
                client.delete(f"{pod.path}/{pod.name}", body=body)
        while self._next_arrival_s <= now_s:
            pod = self._pods.pods[self._n_come]
            self._n_come += 1
            self._make_namespace(pod.row.namespace, client=client)
            client.post(pod.path, body=msgspec.json.encode(_object_of(pod)))
            if pod.until_s < math.inf:
                self._ends.push(pod.until_s, pod)

    @property
    def _next_arrival_s(self) -> float:
        pods = self._pods.pods
        return pods[self._n_come].at_s if self._n_come < len(pods) else math.inf

    def _make_namespace(self, name: str, *, client: LocalClient) -> None:
        if name in self._namespaces:
            return
        self._namespaces.add(name)
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        with suppress(ConflictError):  # the cluster has had it from the beginning
            client.post("/api/v1/namespaces", body=msgspec.json.encode(body))


def _object_of(pod: RecordedPod) -> Object:
    """Write the pod, or the ReplicaSet that makes it."""
    row = pod.row
    label = f"{row.kind}.{row.owner}"
    if len(label) > _MAX_LABEL_CHARS:
        label = f"{key_of(label):016x}"
    labels = {k: v for k, v in row.label_map.items() if k not in _REVISION_LABELS}
    labels[WORKLOAD_LABEL] = label
    meta: Object = {"labels": labels}
    if row.priority:
        meta["annotations"] = {PRIORITY_ANNOTATION: str(row.priority)}
    if not row.is_replaced:
        return _bare_pod(pod, meta=meta)
    # Collectors know by this label that the ReplicaSet stands for something else.
    labels[_HASH_LABEL] = pod.name.removeprefix(f"{row.owner}-")
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": pod.name, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {WORKLOAD_LABEL: label}},
            "template": {"metadata": meta, "spec": _pod_spec(row)},
        },
    }


def _bare_pod(pod: RecordedPod, *, meta: Object) -> Object:
    row = pod.row
    meta = {**meta, "name": pod.name}
    if row.workload:
        uid = f"{key_of('job', row.namespace, row.workload):016x}"
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": row.workload,
            "uid": f"{uid[:8]}-{uid[8:12]}-4{uid[13:]}-8000-{uid[:12]}",
            "controller": True,
        }
        meta["ownerReferences"] = [owner]
    is_work = row.workload or row.run_s is not None
    policy = {"restartPolicy": "Never" if is_work else "Always"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {**_pod_spec(row), **policy},
    }


def _pod_spec(row: PodRow) -> Object:
    requests = _quantities(row.cpu_request_milli, row.memory_request_bytes)
    limits = _quantities(row.cpu_limit_milli, row.memory_limit_bytes)
    container = {
        "name": "app",
        "image": f"registry.example/{row.owner}:1",
        "resources": {"requests": requests, "limits": limits},
    }
    return {
        **_without_revisions(row.constraint_fields),
        "schedulerName": SCHEDULER_NAME,
        "containers": [container],
    }


def _without_revisions(part: Any) -> Any:
    """Leave out conditions on revisions of a workload, which are not replayed."""
    if isinstance(part, dict):
        return {k: _without_revisions(v) for k, v in part.items() if k not in _REVISION_LABELS}
    if not isinstance(part, list):
        return part
    return [
        _without_revisions(each)
        for each in part
        if (each.get("key") if isinstance(each, dict) else each) not in _REVISION_LABELS
    ]


def _quantities(cpu_milli: int | None, memory_bytes: int | None) -> dict[str, str]:
    cpu = {"cpu": f"{cpu_milli}m"} if cpu_milli else {}
    return {**cpu, "memory": str(memory_bytes)} if memory_bytes else cpu


def node_spec_of(row: NodeRow, *, traits: NodeTraits, nodes: NodePhysics) -> NodeSpec:
    """Describe a recorded node that hides *traits*; what it does not tell, all nodes share."""
    reserved_cpu_milli, reserved_bytes = nodes.reserved_cpu_milli, nodes.reserved_memory_bytes
    eviction_bytes = nodes.eviction_hard_bytes
    if row.allocatable_cpu_milli is not None:
        reserved_cpu_milli = row.cpu_milli - row.allocatable_cpu_milli
    if row.allocatable_memory_bytes is not None:
        kept_bytes = row.memory_bytes - row.allocatable_memory_bytes
        eviction_bytes = min(eviction_bytes, kept_bytes)
        reserved_bytes = kept_bytes - eviction_bytes
    return NodeSpec(
        name=row.name,
        cpu_milli=row.cpu_milli,
        memory_bytes=row.memory_bytes,
        max_pods=row.max_pods or nodes.max_pods,
        image_disk_bytes=nodes.image_disk_bytes,
        reserved_cpu_milli=reserved_cpu_milli,
        reserved_memory_bytes=reserved_bytes,
        eviction_hard_bytes=eviction_bytes,
        traits=traits,
    )


class RecordedUsage:
    """What recorded pods used: as it was recorded, else drawn. Known to the world alone.

    Args:
        pods: Those of the scenario's time.
        recording: What they used, and what is drawn of that.
        seed: Decides what was left to chance.
        others: Knows what pods use that are none of the recording's.
        library: Recorded usage of anybody, for pods whose own was not recorded.
    """

    def __init__(
        self,
        pods: RecordedPods,
        *,
        recording: Recording,
        seed: int,
        others: UsageModel,
        library: UsageLibrary | None,
    ) -> None:
        self._pods = pods
        self._recorded = recording.load().usage
        self._nature = recording.nature
        self._seed = seed
        self._others = others
        self._library = library

    def profile(
        self,
        *,
        pod: str,
        workload: str,
        container: str,
        cpu_request_milli: int | None,
        memory_request_bytes: int | None,
    ) -> UsageProfile:
        """Say what a container uses."""
        by_key = self._pods.by_key
        found = by_key.get(pod) or by_key.get(pod.rpartition("-")[0])  # made by its ReplicaSet
        if found is None:
            return self._others.profile(
                pod=pod,
                workload=workload,
                container=container,
                cpu_request_milli=cpu_request_milli,
                memory_request_bytes=memory_request_bytes,
            )
        row = found.row
        key = f"{row.namespace}/{row.kind}/{row.owner}"
        traits = self._nature.traits(key, seed=self._seed)
        profile = traits.profile(
            cpu_request_milli=cpu_request_milli,
            memory_request_bytes=memory_request_bytes,
            series=self._series(f"{row.namespace}/{row.name}", key),
        )
        return replace(profile, run_s=max(1.0, found.run_s))

    def _series(self, *names: str) -> UsageSeries | None:
        """Find what was recorded under the first of some names, or anybody's usage."""
        if self._recorded is not None:
            for name in names:
                series = self._recorded.series_of(name, seed=self._seed, shift_s=self._pods.shift_s)
                if series is not None:
                    return series
        library = self._library
        return None if library is None else library.series(names[-1], seed=self._seed)
