"""ReplicaSets: as many pods as asked for, replaced when they end, the least useful going first."""

from collections.abc import Sequence
from typing import Any, Final

from kube.instants import parse_rfc3339, rfc3339
from scheduler.simulator.apiserver.label_selectors import from_label_selector, matches_all
from scheduler.simulator.controllers.ownership import Ownership, controller_of, owner_reference
from scheduler.simulator.controllers.pods import (
    available_at_s,
    is_active,
    is_ready,
    ready_since_s,
    with_condition,
)
from scheduler.simulator.defaults import ForbiddenError
from scheduler.simulator.recorder import Recorder, Source, reference_to
from scheduler.simulator.resources import PODS, REPLICASETS, Object
from scheduler.simulator.store import AlreadyExistsError, Change, Store
from scheduler.simulator.workqueue import WorkQueue

BURST: Final = 500
"""At most so many pods are created or deleted in one go."""
_RETRY_S: Final = 10.0
_SOURCE: Final = Source("replicaset-controller")
_DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
_PHASE_RANK: Final = {"Pending": 0, "Unknown": 1, "Running": 2}

Key = tuple[str, str]


class ReplicaSetController:
    """Keeps every ReplicaSet at its number of replicas.

    Args:
        store: What it reads and writes.
        owners: Finds a set's pods.
        recorder: Tells people.
    """

    def __init__(self, store: Store, *, owners: Ownership, recorder: Recorder) -> None:
        self._store = store
        self._owners = owners
        self._recorder = recorder
        self._queue: WorkQueue[Key] = WorkQueue()
        self._reporting: Key | None = None
        """Whose status is being written, which is no reason to look at it again."""
        store.on_change(self._observe, of=(REPLICASETS, PODS))

    def sync(self, now_s: float) -> bool:
        """Do what is due; tell whether there was anything."""

        def handle(key: Key) -> None:
            replica_set = self._store.find(REPLICASETS, *key)
            if replica_set is not None:
                self._sync_set(replica_set, now_s=now_s)

        return self._queue.work(now_s, handle)

    def _observe(self, change: Change) -> None:
        meta = change.new["metadata"]
        if change.resource is REPLICASETS:
            if (meta["namespace"], meta["name"]) != self._reporting:
                self._queue.add((meta["namespace"], meta["name"]))
        else:
            self._observe_pod(change)

    def _observe_pod(self, change: Change) -> None:
        namespace = change.new["metadata"]["namespace"]
        owner = controller_of(change.new)
        if owner is not None and owner.get("kind") == "ReplicaSet":
            self._queue.add((namespace, owner["name"]))
        elif owner is None and change.type == "ADDED":
            for candidate in self._store.list(REPLICASETS, namespace):
                if _selects(candidate, change.new):
                    self._queue.add((namespace, candidate["metadata"]["name"]))

    def _sync_set(self, replica_set: Object, *, now_s: float) -> None:
        meta = replica_set["metadata"]
        pods = [p for p in self._owners.controlled(PODS, meta["uid"]) if is_active(p)]
        problem = ""
        if "deletionTimestamp" not in meta:
            pods += self._adopt(replica_set)
            problem = self._scale(replica_set, pods=pods)
            pods = [p for p in self._owners.controlled(PODS, meta["uid"]) if is_active(p)]
        self._write_status(replica_set, pods=pods, problem=problem, now_s=now_s)
        if problem:
            self._queue.add_at((meta["namespace"], meta["name"]), now_s + _RETRY_S)

    def _adopt(self, replica_set: Object) -> list[Object]:
        adopted = []
        for pod in self._owners.orphans(replica_set["metadata"]["namespace"]):
            if is_active(pod) and _selects(replica_set, pod):
                owners = [
                    *(pod["metadata"].get("ownerReferences") or ()),
                    owner_reference(replica_set),
                ]
                meta = {**pod["metadata"], "ownerReferences": owners}
                adopted.append(self._store.update(PODS, {**pod, "metadata": meta}))
        return adopted

    def _scale(self, replica_set: Object, *, pods: Sequence[Object]) -> str:
        """Create or delete pods; tell why it could not, if so."""
        missing = replica_set["spec"]["replicas"] - len(pods)
        for _ in range(min(missing, BURST)):
            try:
                pod = self._store.create(PODS, _pod_of(replica_set))
            except (ForbiddenError, AlreadyExistsError) as error:
                self._record(replica_set, "FailedCreate", f"Error creating: {error}")
                return str(error)
            note = f"Created pod: {pod['metadata']['name']}"
            self._record(replica_set, "SuccessfulCreate", note)
        surplus = _least_useful_first(pods)[: min(-missing, BURST)] if missing < 0 else ()
        for pod in surplus:
            meta = pod["metadata"]
            self._store.delete(PODS, meta["namespace"], meta["name"])
            self._record(replica_set, "SuccessfulDelete", f"Deleted pod: {meta['name']}")
        if abs(missing) > BURST:
            self._queue.add((replica_set["metadata"]["namespace"], replica_set["metadata"]["name"]))
        return ""

    def _record(self, replica_set: Object, reason: str, note: str) -> None:
        self._recorder.record(
            reference_to(replica_set),
            source=_SOURCE,
            reason=reason,
            note=note,
            type_="Warning" if reason == "FailedCreate" else "Normal",
        )

    def _write_status(
        self, replica_set: Object, *, pods: Sequence[Object], problem: str, now_s: float
    ) -> None:
        meta, spec = replica_set["metadata"], replica_set["spec"]
        min_ready_s = spec.get("minReadySeconds") or 0
        from_s = [available_at_s(p, min_ready_s=min_ready_s) for p in pods]
        template_labels = (spec["template"]["metadata"].get("labels") or {}).items()
        counts = {
            "replicas": len(pods),
            "fullyLabeledReplicas": sum(
                template_labels <= (p["metadata"].get("labels") or {}).items() for p in pods
            ),
            "readyReplicas": sum(is_ready(p) for p in pods),
            "availableReplicas": sum(at_s is not None and at_s <= now_s for at_s in from_s),
        }
        for at_s in from_s:
            if at_s is not None and at_s > now_s:
                self._queue.add_at((meta["namespace"], meta["name"]), at_s)
        status: Object = {k: v for k, v in counts.items() if v or k == "replicas"}
        status["observedGeneration"] = meta.get("generation", 0)
        if problem:
            failure = {
                "type": "ReplicaFailure",
                "status": "True",
                "lastTransitionTime": rfc3339(now_s),
                "reason": "FailedCreate",
                "message": problem,
            }
            status = with_condition(status, failure)
        current = self._store.get(REPLICASETS, meta["namespace"], meta["name"])
        self._reporting = (meta["namespace"], meta["name"])
        try:
            self._store.update(REPLICASETS, {**current, "status": status})
        finally:
            self._reporting = None


def _selects(replica_set: Object, pod: Object) -> bool:
    selector = from_label_selector(replica_set["spec"].get("selector") or {})
    return bool(selector) and matches_all(selector, pod["metadata"].get("labels"))


def _pod_of(replica_set: Object) -> Object:
    template, meta = replica_set["spec"]["template"], replica_set["metadata"]
    given = template["metadata"]
    pod_meta: Object = {
        "generateName": f"{meta['name']}-",
        "namespace": meta["namespace"],
        "ownerReferences": [owner_reference(replica_set)],
    }
    kept = ("labels", "annotations", "finalizers")
    pod_meta.update({key: given[key] for key in kept if given.get(key)})
    return {"metadata": pod_meta, "spec": template["spec"]}


def _least_useful_first(pods: Sequence[Object]) -> list[Object]:
    """Rank pods for removal, as upstream's ``ActivePodsWithRanks``."""
    on_node: dict[str, int] = {}
    for pod in pods:
        node = pod["spec"].get("nodeName", "")
        on_node[node] = on_node.get(node, 0) + 1

    def rank(pod: Object) -> tuple[Any, ...]:
        node = pod["spec"].get("nodeName", "")
        since_s = ready_since_s(pod)
        restarts = [c.get("restartCount", 0) for c in pod["status"].get("containerStatuses") or ()]
        return (
            bool(node),
            _PHASE_RANK.get(pod["status"].get("phase", "Pending"), 2),
            is_ready(pod),
            _deletion_cost(pod),
            -on_node[node],
            -(since_s or 0.0),
            -max(restarts, default=0),
            -parse_rfc3339(pod["metadata"]["creationTimestamp"]),
        )

    return sorted(pods, key=rank)


def _deletion_cost(pod: Object) -> int:
    text = (pod["metadata"].get("annotations") or {}).get(_DELETION_COST, "0")
    return int(text) if text.removeprefix("-").isdigit() else 0
