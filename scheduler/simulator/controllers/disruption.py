"""PodDisruptionBudgets: how many pods may be evicted now."""

from collections.abc import Sequence
from typing import Final

from kube.instants import parse_rfc3339, rfc3339
from scheduler.simulator.apiserver.label_selectors import from_label_selector, matches_all
from scheduler.simulator.controllers.ownership import controller_of
from scheduler.simulator.controllers.pods import condition_of, is_over, is_ready
from scheduler.simulator.controllers.rollout import resolve
from scheduler.simulator.resources import (
    DEPLOYMENTS,
    PDBS,
    PODS,
    REPLICASETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
    Object,
)
from scheduler.simulator.store import Change, Store
from scheduler.simulator.workqueue import WorkQueue

DISRUPTED_S: Final = 120.0
"""An eviction that has not become a deletion after this time is taken not to come."""
_SCALED: Final = {
    "Deployment": DEPLOYMENTS,
    "ReplicaSet": REPLICASETS,
    "ReplicationController": REPLICATION_CONTROLLERS,
    "StatefulSet": STATEFUL_SETS,
}

Key = tuple[str, str]


class DisruptionController:
    """Keeps the status of every budget.

    Args:
        store: What it reads and writes.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: WorkQueue[Key] = WorkQueue()
        store.on_change(self._observe, of=(PDBS, PODS))

    def sync(self, now_s: float) -> bool:
        """Do what is due; tell whether there was anything."""

        def handle(key: Key) -> None:
            budget = self._store.find(PDBS, *key)
            if budget is not None:
                self._sync_budget(budget, now_s=now_s)

        return self._queue.work(now_s, handle)

    def _observe(self, change: Change) -> None:
        meta = change.new["metadata"]
        if change.resource is PDBS:
            self._queue.add((meta["namespace"], meta["name"]))
        else:
            for budget in self._store.list(PDBS, meta["namespace"]):
                if _selects(budget, change.new):
                    self._queue.add((meta["namespace"], budget["metadata"]["name"]))

    def _sync_budget(self, budget: Object, *, now_s: float) -> None:
        meta = budget["metadata"]
        pods = [
            pod
            for pod in self._store.list(PODS, meta["namespace"])
            if _selects(budget, pod) and not is_over(pod)
        ]
        disrupted = self._still_disrupted(budget, pods=pods, now_s=now_s)
        healthy = sum(
            is_ready(pod)
            and "deletionTimestamp" not in pod["metadata"]
            and pod["metadata"]["name"] not in disrupted
            for pod in pods
        )
        expected, desired = self._wanted(budget, pods=pods)
        allowed = max(0, healthy - desired) if expected else 0
        status: Object = {
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "disruptionsAllowed": allowed,
            "expectedPods": expected,
            "observedGeneration": meta.get("generation", 0),
            "conditions": [_condition(budget, is_allowed=allowed > 0, now_s=now_s)],
        }
        if disrupted:
            status["disruptedPods"] = disrupted
            self._queue.add_at((meta["namespace"], meta["name"]), now_s + DISRUPTED_S)
        self._store.update(PDBS, {**budget, "status": status})

    def _still_disrupted(
        self, budget: Object, *, pods: Sequence[Object], now_s: float
    ) -> dict[str, str]:
        present = {p["metadata"]["name"] for p in pods if "deletionTimestamp" not in p["metadata"]}
        noted = budget["status"].get("disruptedPods") or {}
        return {
            name: at
            for name, at in noted.items()
            if at and name in present and now_s - parse_rfc3339(at) < DISRUPTED_S
        }

    def _wanted(self, budget: Object, *, pods: Sequence[Object]) -> tuple[int, int]:
        """How many pods there should be, and how many of them must be healthy."""
        spec = budget["spec"]
        if spec.get("maxUnavailable") is not None:
            expected = self._expected(pods)
            missing = resolve(spec["maxUnavailable"], total=expected, round_up=True)
            return expected, max(0, expected - missing)
        least = spec.get("minAvailable")
        if isinstance(least, str):
            expected = self._expected(pods)
            return expected, resolve(least, total=expected, round_up=True)
        return len(pods), 1 if least is None else int(least)

    def _expected(self, pods: Sequence[Object]) -> int:
        """Add up what the pods' controllers are scaled to."""
        scales: dict[str, int] = {}
        for pod in pods:
            owner = controller_of(pod)
            found = self._scaled(owner, namespace=pod["metadata"]["namespace"]) if owner else None
            if found is not None:
                scales[found["metadata"]["uid"]] = found["spec"].get("replicas", 1)
        return sum(scales.values())

    def _scaled(self, owner: Object, *, namespace: str) -> Object | None:
        """What says how many pods the owner's there should be; for a rollout, its Deployment."""
        resource = _SCALED.get(owner.get("kind", ""))
        found = self._store.find(resource, namespace, owner["name"]) if resource else None
        if found is None or found["metadata"]["uid"] != owner["uid"]:
            return None
        above = controller_of(found)
        return self._scaled(above, namespace=namespace) if above else found


def _selects(budget: Object, pod: Object) -> bool:
    selector = budget["spec"].get("selector")
    if selector is None:
        return False
    return matches_all(from_label_selector(selector), pod["metadata"].get("labels"))


def _condition(budget: Object, *, is_allowed: bool, now_s: float) -> Object:
    status = "True" if is_allowed else "False"
    old = condition_of(budget, "DisruptionAllowed")
    is_same = old is not None and old.get("status") == status
    return {
        "type": "DisruptionAllowed",
        "status": status,
        "observedGeneration": budget["metadata"].get("generation", 0),
        "lastTransitionTime": (is_same and old and old.get("lastTransitionTime")) or rfc3339(now_s),
        "reason": "SufficientPods" if is_allowed else "InsufficientPods",
        "message": "",
    }
