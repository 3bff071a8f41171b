"""Volumes and claims: bound to each other, provisioned when nothing fits, reclaimed at the end."""

from typing import Final

from kube.storage import BIND_COMPLETED, BOUND_BY_CONTROLLER, NO_PROVISIONER, SELECTED_NODE
from scheduler.simulator.claims import annotations_of, class_name, is_delayed
from scheduler.simulator.controllers.provisioning import (
    PROVISIONED_BY,
    claim_reference,
    provisioned_volume,
)
from scheduler.simulator.controllers.volume_matching import FreeVolumes, holds, is_bound_to
from scheduler.simulator.recorder import EventType, Recorder, Source, reference_to
from scheduler.simulator.resources import NODES, PVCS, PVS, STORAGE_CLASSES, Object
from scheduler.simulator.store import Change, Store
from scheduler.simulator.workqueue import WorkQueue

PROVISIONING_S: Final = 1.0
"""How long a provisioner takes to make a volume."""
_PROVISIONERS: Final = (
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
)
_SOURCE: Final = Source("persistentvolume-controller")

Key = tuple[str, str, str]
"""Table, namespace and name."""


class VolumeController:
    """Binds claims to volumes, and has volumes made and removed.

    Args:
        store: What it reads and writes.
        recorder: Tells people why a claim waits.
    """

    def __init__(self, store: Store, *, recorder: Recorder) -> None:
        self._store = store
        self._recorder = recorder
        self._queue: WorkQueue[Key] = WorkQueue()
        self._pending: dict[Key, None] = {}
        self._set_aside: dict[tuple[str, str], dict[str, None]] = {}
        self._free_volumes = FreeVolumes()
        self._must_retry = False
        self._made_at_s: dict[str, float] = {}
        store.on_change(self._observe, of=(PVCS, PVS, STORAGE_CLASSES))

    def sync(self, now_s: float) -> bool:
        """Do what is due; tell whether there was anything."""

        def handle(key: Key) -> None:
            table, namespace, name = key
            if table == PVS.table:
                volume = self._store.find(PVS, None, name)
                if volume is not None:
                    self._sync_volume(volume)
                return
            claim = self._store.find(PVCS, namespace, name)
            if claim is not None:
                self._sync_claim(claim, now_s=now_s)

        if self._must_retry:
            self._must_retry = False
            for key in self._pending:
                self._queue.add(key)
        return self._queue.work(now_s, handle)

    # --- what changed

    def _observe(self, change: Change) -> None:
        if change.resource is PVCS:
            self._observe_claim(change)
        elif change.resource is PVS:
            self._observe_volume(change)
        else:
            self._must_retry = True

    def _observe_claim(self, change: Change) -> None:
        meta = change.new["metadata"]
        self._queue.add(_claim_key(change.new))
        if change.type == "DELETED":
            self._pending.pop(_claim_key(change.new), None)
            self._made_at_s.pop(meta["uid"], None)
        for name in self._set_aside.get((meta["namespace"], meta["name"]), ()):
            self._queue.add((PVS.table, "", name))

    def _observe_volume(self, change: Change) -> None:
        name = change.new["metadata"]["name"]
        self._queue.add((PVS.table, "", name))
        if change.type == "DELETED":
            self._free_volumes.drop(name)
        else:
            self._free_volumes.put(change.new)
        self._index(change.old, is_current=False)
        self._index(change.new, is_current=change.type != "DELETED")

    def _index(self, volume: Object | None, *, is_current: bool) -> None:
        """Note for which claim a volume is, or was, set aside; and look at that claim."""
        ref = volume["spec"].get("claimRef") if volume else None
        if volume is None or not ref:
            return
        name = volume["metadata"]["name"]
        claim = (ref.get("namespace", ""), ref.get("name", ""))
        set_aside = self._set_aside.setdefault(claim, {})
        if is_current:
            set_aside[name] = None
        else:
            set_aside.pop(name, None)
        if not set_aside:
            del self._set_aside[claim]
        self._queue.add((PVCS.table, *claim))

    # --- claims

    def _sync_claim(self, claim: Object, *, now_s: float) -> None:
        if BIND_COMPLETED in annotations_of(claim):
            self._keep_bound(claim)
            return
        volume = self._volume_for(claim)
        if volume is not None:
            self._bind(claim, volume)
            return
        self._pending[_claim_key(claim)] = None
        if not claim["spec"].get("volumeName") and "deletionTimestamp" not in claim["metadata"]:
            self._ask_for_volume(claim, now_s=now_s)

    def _volume_for(self, claim: Object) -> Object | None:
        if wanted := claim["spec"].get("volumeName"):
            volume = self._store.find(PVS, None, wanted)
            is_free = volume is not None and not volume["spec"].get("claimRef")
            return volume if is_free or (volume and is_bound_to(volume, claim)) else None
        meta = claim["metadata"]
        for name in self._set_aside.get((meta["namespace"], meta["name"]), ()):
            volume = self._store.find(PVS, None, name)
            if volume is not None and is_bound_to(volume, claim) and holds(volume, claim):
                return volume
        # The scheduler asks for a new volume where no other one can be reached.
        if SELECTED_NODE in annotations_of(claim) or is_delayed(claim, self._store):
            return None
        return self._free_volumes.best_match(claim)

    def _keep_bound(self, claim: Object) -> None:
        volume = self._store.find(PVS, None, claim["spec"].get("volumeName") or "")
        if volume is None:
            self._lose(claim, reason="ClaimLost", note="Bound claim has lost its PersistentVolume.")
        elif not volume["spec"].get("claimRef") or is_bound_to(volume, claim):
            self._bind(claim, volume)
        else:
            note = "Two claims are bound to the same volume, this one is bound incorrectly"
            self._lose(claim, reason="ClaimMisbound", note=note)

    def _lose(self, claim: Object, *, reason: str, note: str) -> None:
        if claim["status"].get("phase") != "Lost":
            self._tell(claim, reason=reason, note=note, type_="Warning")
            self._store.update(PVCS, {**claim, "status": {"phase": "Lost"}})

    def _bind(self, claim: Object, volume: Object) -> None:
        by_controller = {BOUND_BY_CONTROLLER: "yes"}
        ref = volume["spec"].get("claimRef") or {}
        if ref.get("uid") != claim["metadata"]["uid"]:
            more = {} if ref else by_controller
            volume = _annotated(volume, more)
            volume["spec"] = {**volume["spec"], "claimRef": claim_reference(claim)}
        self._store.update(PVS, {**volume, "status": {**volume["status"], "phase": "Bound"}})
        name, was_free = volume["metadata"]["name"], not claim["spec"].get("volumeName")
        bound = _annotated(claim, {BIND_COMPLETED: "yes"} | (by_controller if was_free else {}))
        bound["spec"] = {**claim["spec"], "volumeName": name}
        bound["status"] = {
            **claim["status"],
            "phase": "Bound",
            "accessModes": volume["spec"].get("accessModes") or [],
            "capacity": volume["spec"].get("capacity") or {},
        }
        self._store.update(PVCS, bound)
        self._pending.pop(_claim_key(claim), None)
        self._made_at_s.pop(claim["metadata"]["uid"], None)

    # --- provisioning

    def _ask_for_volume(self, claim: Object, *, now_s: float) -> None:
        if is_delayed(claim, self._store):
            note = "waiting for first consumer to be created before binding"
            self._tell(claim, reason="WaitForFirstConsumer", note=note)
            return
        name = class_name(claim)
        if not name:
            note = "no persistent volumes available for this claim and no storage class is set"
            self._tell(claim, reason="FailedBinding", note=note)
            return
        storage_class = self._store.find(STORAGE_CLASSES, None, name)
        if storage_class is None:
            self._fail(claim, note=f'storageclass.storage.k8s.io "{name}" not found')
        elif storage_class["provisioner"] == NO_PROVISIONER:
            self._fail(claim, note=f"no volume plugin matched name: {NO_PROVISIONER}")
        else:
            self._provision(claim, storage_class, now_s=now_s)

    def _provision(self, claim: Object, storage_class: Object, *, now_s: float) -> None:
        uid: str = claim["metadata"]["uid"]
        provisioner: str = storage_class["provisioner"]
        if uid not in self._made_at_s:
            self._made_at_s[uid] = now_s + PROVISIONING_S
            self._queue.add_at(_claim_key(claim), self._made_at_s[uid])
            note = (
                "Waiting for a volume to be created either by the external provisioner "
                f"'{provisioner}' or manually by the system administrator. If volume creation is "
                "delayed, please verify that the provisioner is running and correctly registered."
            )
            self._tell(claim, reason="ExternalProvisioning", note=note)
            self._store.update(PVCS, _annotated(claim, dict.fromkeys(_PROVISIONERS, provisioner)))
            return
        if now_s < self._made_at_s[uid]:
            return
        del self._made_at_s[uid]
        node = annotations_of(claim).get(SELECTED_NODE)
        if node is not None and self._store.find(NODES, None, node) is None:
            self._give_back(claim, note=f'failed to get target node: node "{node}" not found')
            return
        volume = provisioned_volume(claim, storage_class, store=self._store)
        if self._store.find(PVS, None, volume["metadata"]["name"]) is None:
            made = self._store.create(PVS, volume)
            note = f"Successfully provisioned volume {made['metadata']['name']}"
            self._tell(claim, reason="ProvisioningSucceeded", note=note)

    def _give_back(self, claim: Object, *, note: str) -> None:
        """Let the scheduler choose another node."""
        self._fail(claim, note=note)
        kept = {key: text for key, text in annotations_of(claim).items() if key != SELECTED_NODE}
        self._store.update(PVCS, {**claim, "metadata": {**claim["metadata"], "annotations": kept}})

    # --- volumes

    def _sync_volume(self, volume: Object) -> None:
        ref, name = volume["spec"].get("claimRef") or {}, volume["metadata"]["name"]
        if not ref.get("uid"):
            if volume["status"].get("phase") != "Available":
                self._set_phase(volume, "Available")
                self._must_retry = True
            return
        claim = self._store.find(PVCS, ref.get("namespace"), ref.get("name", ""))
        if claim is None or claim["metadata"]["uid"] != ref["uid"]:
            self._reclaim(volume)
        elif claim["spec"].get("volumeName") == name:
            self._set_phase(volume, "Bound")
        elif not claim["spec"].get("volumeName"):
            self._queue.add(_claim_key(claim))
        else:
            self._let_go(volume)

    def _reclaim(self, volume: Object) -> None:
        """Do with a volume whose claim is gone what its policy says."""
        policy = volume["spec"].get("persistentVolumeReclaimPolicy")
        if policy == "Recycle":
            self._free(volume)
            return
        released = self._set_phase(volume, "Released")
        if policy == "Delete" and "deletionTimestamp" not in released["metadata"]:
            self._store.delete(PVS, None, released["metadata"]["name"])

    def _let_go(self, volume: Object) -> None:
        """The claim found another volume."""
        if PROVISIONED_BY in annotations_of(volume):
            self._reclaim(volume)
        elif BOUND_BY_CONTROLLER in annotations_of(volume):
            self._free(volume)

    def _free(self, volume: Object) -> None:
        spec = {key: value for key, value in volume["spec"].items() if key != "claimRef"}
        status = {**volume["status"], "phase": "Available"}
        self._store.update(PVS, {**volume, "spec": spec, "status": status})

    def _set_phase(self, volume: Object, phase: str) -> Object:
        return self._store.update(PVS, {**volume, "status": {**volume["status"], "phase": phase}})

    # --- news

    def _fail(self, claim: Object, *, note: str) -> None:
        self._tell(claim, reason="ProvisioningFailed", note=note, type_="Warning")

    def _tell(self, claim: Object, *, reason: str, note: str, type_: EventType = "Normal") -> None:
        about = reference_to(claim)
        self._recorder.record(about, source=_SOURCE, reason=reason, note=note, type_=type_)


def _claim_key(claim: Object) -> Key:
    return (PVCS.table, claim["metadata"]["namespace"], claim["metadata"]["name"])


def _annotated(obj: Object, more: dict[str, str]) -> Object:
    """A copy of an object with further annotations."""
    annotations = annotations_of(obj) | more
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}
