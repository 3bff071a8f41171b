"""Claims for the generic ephemeral volumes of pods."""

from scheduler.simulator.controllers.ownership import controller_of, owner_reference
from scheduler.simulator.recorder import Recorder, Source, reference_to
from scheduler.simulator.resources import PODS, PVCS, Object
from scheduler.simulator.store import Change, Store
from scheduler.simulator.workqueue import WorkQueue

_SOURCE = Source("ephemeral_volume")


class EphemeralVolumeController:
    """Writes the claim of each ephemeral volume, owned by its pod.

    Args:
        store: What it reads and writes.
        recorder: Tells people of a claim that is another's.
    """

    def __init__(self, store: Store, *, recorder: Recorder) -> None:
        self._store = store
        self._recorder = recorder
        self._queue: WorkQueue[tuple[str, str]] = WorkQueue()
        store.on_change(self._observe, of=(PODS,))

    def sync(self, now_s: float) -> bool:
        """Do what is due; tell whether there was anything."""

        def handle(key: tuple[str, str]) -> None:
            pod = self._store.find(PODS, *key)
            if pod is not None and "deletionTimestamp" not in pod["metadata"]:
                for volume in pod["spec"].get("volumes") or ():
                    if "ephemeral" in volume:
                        self._sync_volume(pod, volume)

        return self._queue.work(now_s, handle)

    def _observe(self, change: Change) -> None:
        if change.type == "ADDED":
            volumes = change.new["spec"].get("volumes") or ()
            if any("ephemeral" in volume for volume in volumes):
                meta = change.new["metadata"]
                self._queue.add((meta["namespace"], meta["name"]))

    def _sync_volume(self, pod: Object, volume: Object) -> None:
        meta, name = pod["metadata"], f"{pod['metadata']['name']}-{volume['name']}"
        found = self._store.find(PVCS, meta["namespace"], name)
        if found is not None:
            if (controller_of(found) or {}).get("uid") != meta["uid"]:
                note = f"PVC {meta['namespace']}/{name} was not created for pod {meta['name']}"
                about = reference_to(pod)
                self._recorder.record(
                    about, source=_SOURCE, reason="FailedBinding", note=note, type_="Warning"
                )
            return
        template = volume["ephemeral"]["volumeClaimTemplate"]
        given = template.get("metadata") or {}
        kept = {key: given[key] for key in ("labels", "annotations") if given.get(key)}
        named = {"name": name, "namespace": meta["namespace"]}
        owned = {"ownerReferences": [owner_reference(pod)]}
        self._store.create(PVCS, {"metadata": {**kept, **named, **owned}, "spec": template["spec"]})
