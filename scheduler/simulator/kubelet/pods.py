"""The pods of all kubelets: admit what is bound, carry it out in the world, report what happens."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from kube.instants import rfc3339
from kube.objects import Pod
from scheduler.simulator import changes as ch
from scheduler.simulator.hardware import NodeSpec
from scheduler.simulator.kubelet.addresses import Addresses
from scheduler.simulator.kubelet.admission import Admission
from scheduler.simulator.kubelet.announcements import Announcer
from scheduler.simulator.kubelet.mounts import mount_problem
from scheduler.simulator.kubelet.placement import Placement, placement_of
from scheduler.simulator.kubelet.record import ContainerRecord, PodRecord, Verdict
from scheduler.simulator.resources import PODS, PVCS, Object
from scheduler.simulator.store import Change, Store
from scheduler.simulator.usage import UsageModel
from scheduler.simulator.workqueue import WorkQueue
from scheduler.simulator.world import World

_OVER: Final = ("Succeeded", "Failed")


class PodKubelets:
    """What the kubelets of all nodes do about pods.

    Args:
        store: What is wished for, and where they report.
        world: Where they carry it out.
        nodes: The nodes that have a kubelet, by name; the caller keeps it current.
        usage: Knows what pods truly use.
        addresses: Where pods get theirs.
        announcer: Tells people by events.
    """

    def __init__(
        self,
        store: Store,
        *,
        world: World,
        nodes: Mapping[str, NodeSpec],
        usage: UsageModel,
        addresses: Addresses,
        announcer: Announcer,
    ) -> None:
        self._store = store
        self._world = world
        self._nodes = nodes
        self._usage = usage
        self._addresses = addresses
        self._announcer = announcer
        self._admission = Admission(store, nodes=nodes)
        self._records: dict[str, PodRecord] = {}
        self._on_node: dict[str, dict[str, PodRecord]] = {}
        self._queue: WorkQueue[tuple[str, str]] = WorkQueue()
        self._unreported: dict[str, None] = {}
        self._unmounted: dict[str, None] = {}
        store.on_change(self._observe, of=(PODS, PVCS))

    def sync(self, now_s: float) -> bool:
        """Carry out what was written since the last call; tell whether there was anything."""

        def handle(key: tuple[str, str]) -> None:
            pod = self._store.find(PODS, *key)
            if pod is not None and pod["spec"].get("nodeName") in self._nodes:
                self._sync_pod(pod, now_s=now_s)

        was_busy = self._queue.work(now_s, handle)
        self._report(now_s)
        return was_busy

    def apply(self, changes: Iterable[ch.PodChange], *, now_s: float) -> None:
        """Take in what happened in the world, and report it."""
        for change in changes:
            record = self._records.get(change.pod)
            if record is None:
                continue
            record.apply(change)
            self._announcer.tell(change, record=record)
            self._unreported[record.uid] = None
            if isinstance(change, ch.PodStopped):
                self._report(now_s)
                self._finish_deletion(record.namespace, name=record.name, uid=record.uid)
        self._report(now_s)

    def resync(self, node: str) -> None:
        """Look at all pods of a node again: its kubelet is back, or new."""
        for pod in self._store.list(PODS):
            if pod["spec"].get("nodeName") == node:
                self._mark(pod)
        for uid in self._on_node.get(node, {}):
            self._unreported[uid] = None

    def drop_node(self, node: str) -> None:
        """Forget the pods of a node that is gone."""
        for record in list(self._on_node.get(node, {}).values()):
            self._drop(record)

    def active_on(self, node: str) -> list[PodRecord]:
        """List the pods that hold resources of a node, in the order in which they came."""
        return [record for record in self._on_node.get(node, {}).values() if record.is_active()]

    def refresh_usage(self) -> None:
        """Ask the usage model anew for every pod that is carried out."""
        for record in self._records.values():
            pod = self._store.find(PODS, record.namespace, record.name)
            if pod is not None and self._world.has(record.uid):
                spec = self._placement_of(pod).pod
                profiles = {each.name: each.profile for each in spec.containers}
                self._world.set_profiles(record.uid, profiles)

    # --- details

    def _observe(self, change: Change) -> None:
        if change.resource is PODS:
            self._observe_pod(change)
        else:
            for uid in self._unmounted:
                record = self._records[uid]
                if record.namespace == change.new["metadata"]["namespace"]:
                    self._queue.add((record.namespace, record.name))

    def _observe_pod(self, change: Change) -> None:
        uid = change.new["metadata"]["uid"]
        if change.type == "DELETED":
            record = self._records.get(uid)
            if record is not None:
                self._drop(record)
            return
        meta = change.new["metadata"]
        is_news = uid not in self._records or "deletionTimestamp" in meta
        if is_news and change.new["spec"].get("nodeName") in self._nodes:
            self._mark(change.new)

    def _mark(self, pod: Object) -> None:
        meta = pod["metadata"]
        self._queue.add((meta["namespace"], meta["name"]))

    def _drop(self, record: PodRecord) -> None:
        del self._records[record.uid]
        del self._on_node[record.node][record.uid]
        self._unreported.pop(record.uid, None)
        self._unmounted.pop(record.uid, None)
        if self._world.has(record.uid):
            self._world.remove(record.uid)

    def _sync_pod(self, pod: Object, *, now_s: float) -> None:
        meta = pod["metadata"]
        node = pod["spec"]["nodeName"]
        if not self._world.is_up(node):
            return  # its kubelet will look at all pods when it is back
        record = self._records.get(meta["uid"])
        if "deletionTimestamp" in meta:
            self._stop(pod, record=record)
        elif record is None and pod["status"].get("phase") not in _OVER:
            self._admit(pod, now_s=now_s)
        elif record is not None and record.uid in self._unmounted:
            self._start(pod, record=record)

    def _stop(self, pod: Object, *, record: PodRecord | None) -> None:
        meta = pod["metadata"]
        if record is None or not self._world.has(record.uid):
            self._finish_deletion(meta["namespace"], name=meta["name"], uid=meta["uid"])
            return
        if not record.is_stopping:
            record.is_stopping = True
            self._announcer.tell_killing(record)
        self._world.stop(record.uid, grace_s=meta.get("deletionGracePeriodSeconds") or 0)

    def _finish_deletion(self, namespace: str, *, name: str, uid: str) -> None:
        found = self._store.find(PODS, namespace, name)
        if found is None or found["metadata"]["uid"] != uid:
            return
        self._store.delete(PODS, namespace, name, grace_period_s=0)

    def _admit(self, pod: Object, *, now_s: float) -> None:
        record = self._record_of(pod, now_s=now_s)
        others = self.active_on(record.node)
        refusal = self._admission.admit(pod, record=record, others=others)
        self._records[record.uid] = record
        self._on_node.setdefault(record.node, {})[record.uid] = record
        self._unreported[record.uid] = None
        if refusal:
            reason, message = refusal
            record.verdict = Verdict("Failed", reason, f"Pod was rejected: {message}")
            self._announcer.tell_rejected(record, reason=reason, note=message)
            return
        self._start(pod, record=record)

    def _start(self, pod: Object, *, record: PodRecord) -> None:
        """Carry the pod out in the world, or wait for its volumes."""
        problem = mount_problem(pod, store=self._store)
        if problem:
            self._unmounted[record.uid] = None
            self._announcer.tell_unmounted(record, note=problem)
            return
        self._unmounted.pop(record.uid, None)
        placement = self._placement_of(pod)
        if placement.problem:
            self._announcer.tell_bad_annotation(record, note=placement.problem)
        self._world.place(placement.pod)

    def _placement_of(self, pod: Object) -> Placement:
        init_run_s = self._world.physics.pods.init_run_s
        return placement_of(pod, usage=self._usage, init_run_s=init_run_s)

    def _record_of(self, pod: Object, *, now_s: float) -> PodRecord:
        meta, spec = pod["metadata"], pod["spec"]
        node = spec["nodeName"]
        inits = spec.get("initContainers") or ()
        containers = {
            each["name"]: ContainerRecord(
                each["name"],
                each.get("image") or "",
                "sidecar" if each.get("restartPolicy") == "Always" else "init",
                state={"waiting": {"reason": "PodInitializing"}},
            )
            for each in inits
        } | {
            each["name"]: ContainerRecord(
                each["name"],
                each.get("image") or "",
                "app",
                state={"waiting": {"reason": "PodInitializing" if inits else "ContainerCreating"}},
            )
            for each in spec["containers"]
        }
        host_ip = self._addresses.node_ip(node)
        return PodRecord(
            uid=meta["uid"],
            namespace=meta["namespace"],
            name=meta["name"],
            node=node,
            host_ip=host_ip,
            pod_ip=host_ip if spec.get("hostNetwork") else self._free_ip(node),
            restart_policy=spec["restartPolicy"],
            requests=msgspec.convert(pod, type=Pod).spec.requests,
            containers=containers,
            start_time=rfc3339(now_s),
        )

    def _free_ip(self, node: str) -> str:
        taken = {record.pod_ip for record in self.active_on(node)}
        return self._addresses.free_pod_ip(node, taken=taken)

    def _report(self, now_s: float) -> None:
        unreported, self._unreported = self._unreported, {}
        for uid in unreported:
            record = self._records.get(uid)
            if record is None:
                continue
            if not self._world.is_up(record.node):
                self._unreported[uid] = None
                continue
            pod = self._store.find(PODS, record.namespace, record.name)
            if pod is not None and pod["metadata"]["uid"] == uid:
                status = record.status(pod["status"], now_s=now_s)
                self._store.update(PODS, {**pod, "status": status})
