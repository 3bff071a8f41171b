"""Node lifecycle: silence becomes NotReady, conditions become taints, taints drive pods away."""

from collections.abc import Container, Mapping
from typing import Final

from kube.instants import rfc3339
from scheduler.simulator.controllers.pods import is_over, with_condition
from scheduler.simulator.parameters import NodePhysics
from scheduler.simulator.pod_defaults import NOT_READY, UNREACHABLE
from scheduler.simulator.recorder import Recorder, Source, reference_to
from scheduler.simulator.resources import LEASES, NODES, PODS, Object
from scheduler.simulator.store import Change, Store

MEMORY_PRESSURE: Final = "node.kubernetes.io/memory-pressure"
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
_MANAGED_TAINTS: Final = (NOT_READY, UNREACHABLE, MEMORY_PRESSURE, UNSCHEDULABLE)
_SOURCE: Final = Source("node-controller")
_TAINT_SOURCE: Final = Source("taint-eviction-controller")
_SILENCE: Final = {
    "Ready": "Kubelet stopped posting node status.",
    "MemoryPressure": "Kubelet stopped posting node status.",
    "DiskPressure": "Kubelet stopped posting node status.",
    "PIDPressure": "Kubelet stopped posting node status.",
}


class NodeLifecycleController:
    """Watches heartbeats and taints.

    Nodes without a kubelet (those that clients wrote) send no heartbeats and stay as they were
    written; NoExecute taints drive pods off any node.

    Args:
        store: What it reads and writes.
        with_kubelet: The names of the nodes that have a kubelet; the caller keeps it current.
        recorder: Tells people.
        physics: How often it looks, and how long a kubelet may be silent.
    """

    def __init__(
        self,
        store: Store,
        *,
        with_kubelet: Container[str],
        recorder: Recorder,
        physics: NodePhysics,
    ) -> None:
        self._store = store
        self._with_kubelet = with_kubelet
        self._recorder = recorder
        self._physics = physics
        self._seen_s: dict[str, float] = {}
        self._tainted_s: dict[tuple[str, str, str], float] = {}
        self._changed: dict[str, None] = {}
        self._in_order: dict[str, Object] = {}
        """The versions of nodes, by name, that were found to have the taints they should have."""
        self._driving: dict[str, list[Object]] = {
            node["metadata"]["name"]: taints
            for node in store.list(NODES)
            if (taints := _no_execute(node))
        }
        """The NoExecute taints of the nodes that have any, by name."""
        self._monitor_at_s = 0.0
        store.on_change(self._observe, of=(LEASES, NODES))

    def sync(self, now_s: float) -> bool:
        """Do what is due; tell whether there was anything."""
        changed, self._changed = self._changed, {}
        is_time = now_s >= self._monitor_at_s
        if is_time:
            self._monitor_at_s = now_s + self._physics.monitor_s
            self._watch_heartbeats(now_s)
            for node in self._store.list(NODES):
                name = node["metadata"]["name"]
                if self._in_order.get(name) is not node:
                    changed[name] = None
        for name in changed:
            self._sync_taints(name, now_s=now_s)
        if is_time:
            self._drive_away(now_s)
        return bool(changed) and not is_time

    def _observe(self, change: Change) -> None:
        meta = change.new["metadata"]
        if change.resource is LEASES:
            if meta["namespace"] == "kube-node-lease":
                self._seen_s[meta["name"]] = self._store.now_s()
        elif change.type == "DELETED":
            self._seen_s.pop(meta["name"], None)
            self._in_order.pop(meta["name"], None)
            self._driving.pop(meta["name"], None)
        else:
            self._changed[meta["name"]] = None
            self._driving.pop(meta["name"], None)
            if taints := _no_execute(change.new):
                self._driving[meta["name"]] = taints

    # --- heartbeats

    def _watch_heartbeats(self, now_s: float) -> None:
        for node in self._store.list(NODES):
            name = node["metadata"]["name"]
            if name not in self._with_kubelet:
                continue
            is_silent = now_s - self._seen_s.setdefault(name, now_s) > self._physics.grace_s
            if is_silent and _status_of(node, "Ready") != "Unknown":
                self._mark_unknown(node, now_s=now_s)

    def _mark_unknown(self, node: Object, *, now_s: float) -> None:
        name = node["metadata"]["name"]
        conditions = [
            {
                **condition,
                "status": "Unknown",
                "reason": "NodeStatusUnknown",
                "message": _SILENCE[condition["type"]],
                "lastTransitionTime": rfc3339(now_s),
            }
            if condition.get("type") in _SILENCE
            else condition
            for condition in node["status"].get("conditions") or ()
        ]
        self._store.update(NODES, {**node, "status": {**node["status"], "conditions": conditions}})
        self._record(node, source=_SOURCE, words=("NodeNotReady", _not_ready(name)))
        for pod in self._pods_on({name}):
            self._mark_pod_unready(pod, now_s=now_s)

    def _mark_pod_unready(self, pod: Object, *, now_s: float) -> None:
        conditions = pod["status"].get("conditions") or ()
        ready = next((c for c in conditions if c.get("type") == "Ready"), None)
        if ready is None or ready.get("status") != "True":
            return
        changed = {**ready, "status": "False", "lastTransitionTime": rfc3339(now_s)}
        kept = [changed if c is ready else c for c in conditions]
        self._store.update(PODS, {**pod, "status": {**pod["status"], "conditions": kept}})
        self._record(pod, source=_SOURCE, words=("NodeNotReady", "Node is not ready"))

    # --- taints

    def _sync_taints(self, name: str, *, now_s: float) -> None:
        node = self._store.find(NODES, None, name)
        if node is None or name not in self._with_kubelet:
            return
        before = node["spec"].get("taints") or []
        wanted = _taints_of(node)
        kept = [
            taint
            for taint in before
            if taint["key"] not in _MANAGED_TAINTS or (taint["key"], taint["effect"]) in wanted
        ]
        held = {(taint["key"], taint["effect"]) for taint in kept}
        added = [
            {"key": key, "effect": effect, "timeAdded": rfc3339(now_s)}
            for key, effect in wanted
            if (key, effect) not in held
        ]
        if len(kept) == len(before) and not added:
            self._in_order[name] = node
            return
        spec = {k: v for k, v in node["spec"].items() if k != "taints"}
        if kept or added:
            spec["taints"] = [*kept, *added]
        self._store.update(NODES, {**node, "spec": spec})

    def _drive_away(self, now_s: float) -> None:
        """Delete the pods whose toleration of a NoExecute taint is lacking, or used up."""
        taints = dict(self._driving)
        self._forget_taints(taints)
        if not taints:
            return
        for pod in self._pods_on(taints):
            if "deletionTimestamp" in pod["metadata"] or is_over(pod):
                continue
            name = pod["spec"]["nodeName"]
            for taint in taints[name]:
                key = (name, taint["key"], taint.get("value") or "")
                since_s = self._tainted_s.setdefault(key, now_s)
                stay_s = toleration_s(pod, taint)
                if stay_s is not None and now_s >= since_s + stay_s:
                    self._delete(pod, now_s=now_s)
                    break

    def _forget_taints(self, taints: Mapping[str, list[Object]]) -> None:
        present = {
            (name, taint["key"], taint.get("value") or "")
            for name, found in taints.items()
            for taint in found
        }
        for key in [key for key in self._tainted_s if key not in present]:
            del self._tainted_s[key]

    def _delete(self, pod: Object, *, now_s: float) -> None:
        meta = pod["metadata"]
        label = f"{meta['namespace']}/{meta['name']}"
        self._record(
            pod,
            source=_TAINT_SOURCE,
            words=("TaintManagerEviction", f"Marking for deletion Pod {label}"),
        )
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": rfc3339(now_s),
        }
        self._store.update(PODS, {**pod, "status": with_condition(pod["status"], condition)})
        self._store.delete(PODS, meta["namespace"], meta["name"])

    def _pods_on(self, nodes: Container[str]) -> list[Object]:
        return [p for p in self._store.list(PODS) if p["spec"].get("nodeName") in nodes]

    def _record(self, about: Object, *, source: Source, words: tuple[str, str]) -> None:
        reason, note = words
        self._recorder.record(
            reference_to(about),
            source=source,
            reason=reason,
            note=note,
            type_="Warning" if about["kind"] == "Pod" and source is _SOURCE else "Normal",
        )


def _not_ready(name: str) -> str:
    return f"Node {name} status is now: NodeNotReady"


def _status_of(node: Object, type_: str) -> str:
    conditions = node["status"].get("conditions") or ()
    found: Object = next((c for c in conditions if c.get("type") == type_), {})
    return str(found.get("status") or "Unknown")


def _taints_of(node: Object) -> list[tuple[str, str]]:
    """Which of the managed taints (key and effect) the node's state asks for."""
    found = []
    ready = _status_of(node, "Ready")
    if ready != "True":
        key = NOT_READY if ready == "False" else UNREACHABLE
        found += [(key, "NoSchedule"), (key, "NoExecute")]
    if _status_of(node, "MemoryPressure") == "True":
        found.append((MEMORY_PRESSURE, "NoSchedule"))
    if node["spec"].get("unschedulable"):
        found.append((UNSCHEDULABLE, "NoSchedule"))
    return found


def _no_execute(node: Object) -> list[Object]:
    return [t for t in node["spec"].get("taints") or () if t["effect"] == "NoExecute"]


def toleration_s(pod: Object, taint: Object) -> float | None:
    """How long the pod stays in spite of the taint: None for ever, 0 not at all."""
    stays = [
        toleration.get("tolerationSeconds")
        for toleration in pod["spec"].get("tolerations") or ()
        if _tolerates(toleration, taint)
    ]
    if not stays:
        return 0.0
    limited = [max(0.0, float(stay)) for stay in stays if stay is not None]
    return min(limited) if limited else None


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("key") not in (None, "", taint["key"]):
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (
        taint.get("value") or ""
    )
