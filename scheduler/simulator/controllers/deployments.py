"""Deployments: a ReplicaSet for each template, and rolling from one to the next."""

from collections.abc import Sequence
from typing import Final

from scheduler.simulator.controllers.deployment_status import status_of
from scheduler.simulator.controllers.ownership import Ownership, controller_of, owner_reference
from scheduler.simulator.controllers.rollout import (
    HASH_LABEL,
    Replicas,
    is_same_template,
    limits,
    new_size,
    old_sizes,
    template_hash,
)
from scheduler.simulator.recorder import Recorder, Source, reference_to
from scheduler.simulator.resources import DEPLOYMENTS, PODS, REPLICASETS, Object
from scheduler.simulator.store import AlreadyExistsError, Change, Store
from scheduler.simulator.workqueue import WorkQueue

REVISION: Final = "deployment.kubernetes.io/revision"
_DESIRED: Final = "deployment.kubernetes.io/desired-replicas"
_MAXIMUM: Final = "deployment.kubernetes.io/max-replicas"
_OWN_ANNOTATIONS: Final = (
    REVISION,
    _DESIRED,
    _MAXIMUM,
    "kubectl.kubernetes.io/last-applied-configuration",
)
_SOURCE: Final = Source("deployment-controller")

Key = tuple[str, str]


class DeploymentController:
    """Rolls every Deployment to its newest template.

    Args:
        store: What it reads and writes.
        owners: Finds a Deployment's ReplicaSets.
        recorder: Tells people.
    """

    def __init__(self, store: Store, *, owners: Ownership, recorder: Recorder) -> None:
        self._store = store
        self._owners = owners
        self._recorder = recorder
        self._queue: WorkQueue[Key] = WorkQueue()
        self._reporting: Key | None = None
        """Whose status is being written, which is no reason to look at it again."""
        store.on_change(self._observe, of=(DEPLOYMENTS, REPLICASETS))

    def sync(self, now_s: float) -> bool:
        """Do what is due; tell whether there was anything."""

        def handle(key: Key) -> None:
            deployment = self._store.find(DEPLOYMENTS, *key)
            if deployment is not None:
                self._sync_deployment(deployment, now_s=now_s)

        return self._queue.work(now_s, handle)

    def _observe(self, change: Change) -> None:
        meta = change.new["metadata"]
        if change.resource is DEPLOYMENTS:
            if (meta["namespace"], meta["name"]) != self._reporting:
                self._queue.add((meta["namespace"], meta["name"]))
        else:
            owner = controller_of(change.new)
            if owner is not None and owner.get("kind") == "Deployment":
                self._queue.add((meta["namespace"], owner["name"]))

    def _sync_deployment(self, deployment: Object, *, now_s: float) -> None:
        meta = deployment["metadata"]
        sets = self._owners.controlled(REPLICASETS, meta["uid"])
        sets.sort(key=lambda s: (_revision(s), s["metadata"]["name"]))
        new = next((s for s in sets if _has_template_of(deployment, s)), None)
        old = [s for s in sets if s is not new]
        if "deletionTimestamp" not in meta:
            if deployment["spec"].get("paused"):
                self._scale_only(deployment, sets)
            else:
                new = self._roll(deployment, new=new, old=old)
                self._clean_up(deployment, old)
        sets = self._owners.controlled(REPLICASETS, meta["uid"])
        current = next((s for s in sets if new and s["metadata"]["name"] == _name(new)), None)
        self._write(deployment, new=current, sets=sets, now_s=now_s)

    # --- rolling

    def _roll(
        self, deployment: Object, *, new: Object | None, old: Sequence[Object]
    ) -> Object | None:
        if deployment["spec"]["strategy"]["type"] == "Recreate":
            return self._recreate(deployment, new=new, old=old)
        max_surge, max_missing = limits(deployment)
        wanted = deployment["spec"]["replicas"]
        active = [s for s in old if s["spec"]["replicas"] > 0]
        if new is None:
            size = new_size(
                wanted=wanted,
                max_surge=max_surge,
                new=Replicas(0, 0),
                old=[_replicas(s) for s in active],
            )
            return self._create(deployment, old=old, replicas=size)
        new = self._keep_revision(deployment, new, old=old)
        size = new_size(
            wanted=wanted,
            max_surge=max_surge,
            new=_replicas(new),
            old=[_replicas(s) for s in active],
        )
        if size != new["spec"]["replicas"]:
            return self._resize(deployment, new, replicas=size)
        sizes = old_sizes(
            wanted=wanted,
            max_missing=max_missing,
            new=_replicas(new),
            old=[_replicas(s) for s in active],
        )
        for each, size in zip(active, sizes, strict=True):
            self._resize(deployment, each, replicas=size)
        return new

    def _recreate(
        self, deployment: Object, *, new: Object | None, old: Sequence[Object]
    ) -> Object | None:
        for each in old:
            self._resize(deployment, each, replicas=0)
        if any(self._owners.controlled(PODS, each["metadata"]["uid"]) for each in old):
            return new  # the old pods must be gone first
        wanted = deployment["spec"]["replicas"]
        if new is None:
            return self._create(deployment, old=old, replicas=wanted)
        return self._resize(
            deployment, self._keep_revision(deployment, new, old=old), replicas=wanted
        )

    def _scale_only(self, deployment: Object, sets: Sequence[Object]) -> None:
        active = [s for s in sets if s["spec"]["replicas"] > 0] or list(sets[-1:])
        if len(active) == 1:
            self._resize(deployment, active[0], replicas=deployment["spec"]["replicas"])

    def _create(self, deployment: Object, *, old: Sequence[Object], replicas: int) -> Object | None:
        meta, spec = deployment["metadata"], deployment["spec"]
        n_collisions = deployment["status"].get("collisionCount") or 0
        digest = template_hash(spec["template"], n_collisions=n_collisions)
        template_meta = spec["template"]["metadata"]
        labels = {**(template_meta.get("labels") or {}), HASH_LABEL: digest}
        selector = dict(spec["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: digest}
        replica_set = {
            "metadata": {
                "name": f"{meta['name']}-{digest}",
                "namespace": meta["namespace"],
                "labels": labels,
                "annotations": self._annotations(deployment, revision=_newest(old) + 1),
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": {
                "replicas": replicas,
                "selector": selector,
                "template": {**spec["template"], "metadata": {**template_meta, "labels": labels}},
            },
        }
        if spec.get("minReadySeconds"):
            replica_set["spec"]["minReadySeconds"] = spec["minReadySeconds"]
        try:
            created = self._store.create(REPLICASETS, replica_set)
        except AlreadyExistsError:
            existing = self._store.get(
                REPLICASETS, meta["namespace"], replica_set["metadata"]["name"]
            )
            if controller_of(existing) is None and _has_template_of(deployment, existing):
                owned = {**existing["metadata"], "ownerReferences": [owner_reference(deployment)]}
                return self._store.update(REPLICASETS, {**existing, "metadata": owned})
            # The name belongs to something else: another hash next time, which this write triggers.
            status = {**deployment["status"], "collisionCount": n_collisions + 1}
            self._store.update(DEPLOYMENTS, {**deployment, "status": status})
            return None
        self._tell_scaled(deployment, created, before=0, after=replicas)
        return created

    def _keep_revision(self, deployment: Object, new: Object, *, old: Sequence[Object]) -> Object:
        """A set that is new again (after an undo) gets the next revision."""
        revision = max(_revision(new), _newest(old) + 1)
        annotations = self._annotations(deployment, revision=revision)
        kept = new["metadata"].get("annotations") or {}
        meta = {**new["metadata"], "annotations": {**kept, **annotations}}
        changed: Object = {**new, "metadata": meta}
        min_ready_s = deployment["spec"].get("minReadySeconds") or 0
        if (new["spec"].get("minReadySeconds") or 0) != min_ready_s:
            changed["spec"] = {**new["spec"], "minReadySeconds": min_ready_s}
        return self._store.update(REPLICASETS, changed)

    def _annotations(self, deployment: Object, *, revision: int) -> dict[str, str]:
        wanted = deployment["spec"]["replicas"]
        given = deployment["metadata"].get("annotations") or {}
        return {k: v for k, v in given.items() if k not in _OWN_ANNOTATIONS} | {
            _DESIRED: str(wanted),
            _MAXIMUM: str(wanted + limits(deployment)[0]),
            REVISION: str(revision),
        }

    def _resize(self, deployment: Object, replica_set: Object, *, replicas: int) -> Object:
        before = replica_set["spec"]["replicas"]
        if before == replicas:
            return replica_set
        spec = {**replica_set["spec"], "replicas": replicas}
        current = self._store.get(
            REPLICASETS, replica_set["metadata"]["namespace"], _name(replica_set)
        )
        resized = self._store.update(REPLICASETS, {**current, "spec": spec})
        self._tell_scaled(deployment, resized, before=before, after=replicas)
        return resized

    def _tell_scaled(
        self, deployment: Object, replica_set: Object, *, before: int, after: int
    ) -> None:
        direction = "up" if after > before else "down"
        if before != after:
            self._recorder.record(
                reference_to(deployment),
                source=_SOURCE,
                reason="ScalingReplicaSet",
                note=f"Scaled {direction} replica set {_name(replica_set)}"
                f" from {before} to {after}",
            )

    def _clean_up(self, deployment: Object, old: Sequence[Object]) -> None:
        """Delete the oldest sets that nobody will roll back to."""
        idle = [s for s in old if s["spec"]["replicas"] == 0 and not s["status"].get("replicas")]
        n_surplus = len(idle) - deployment["spec"].get("revisionHistoryLimit", 10)
        for each in idle[: max(0, n_surplus)]:
            self._store.delete(REPLICASETS, each["metadata"]["namespace"], _name(each))

    # --- reporting

    def _write(
        self, deployment: Object, *, new: Object | None, sets: Sequence[Object], now_s: float
    ) -> None:
        meta = deployment["metadata"]
        current = self._store.find(DEPLOYMENTS, meta["namespace"], meta["name"])
        if current is None:
            return
        status, again_at_s = status_of(current, new=new, sets=sets, now_s=now_s)
        if again_at_s is not None:
            self._queue.add_at((meta["namespace"], meta["name"]), again_at_s)
        changed = {**current, "status": status}
        if new is not None:
            annotations = {
                **(current["metadata"].get("annotations") or {}),
                REVISION: str(_revision(new)),
            }
            changed["metadata"] = {**current["metadata"], "annotations": annotations}
        self._reporting = (meta["namespace"], meta["name"])
        try:
            self._store.update(DEPLOYMENTS, changed)
        finally:
            self._reporting = None


def _has_template_of(deployment: Object, replica_set: Object) -> bool:
    return is_same_template(deployment["spec"]["template"], replica_set["spec"]["template"])


def _replicas(replica_set: Object) -> Replicas:
    return Replicas(
        replica_set["spec"]["replicas"], replica_set["status"].get("availableReplicas", 0)
    )


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _revision(replica_set: Object) -> int:
    text = (replica_set["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def _newest(sets: Sequence[Object]) -> int:
    return max((_revision(s) for s in sets), default=0)
