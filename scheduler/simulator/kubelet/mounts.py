"""Whether a kubelet can mount the volumes of a pod."""

from scheduler.simulator.claims import claim_names
from scheduler.simulator.resources import PVCS, Object
from scheduler.simulator.store import Store


def mount_problem(pod: Object, *, store: Store) -> str:
    """Why a pod cannot start yet, in the kubelet's words; empty when it can."""
    namespace = pod["metadata"]["namespace"]
    for volume, name in claim_names(pod):
        claim = store.find(PVCS, namespace, name)
        why = _problem_of(claim, name=name)
        if why:
            return (
                f"Unable to attach or mount volumes: unmounted volumes=[{volume}], "
                f"unattached volumes=[], failed to process volumes=[{volume}]: "
                f"error processing PVC {namespace}/{name}: {why}"
            )
    return ""


def _problem_of(claim: Object | None, *, name: str) -> str:
    if claim is None:
        return f'failed to fetch PVC from API server: persistentvolumeclaims "{name}" not found'
    if "deletionTimestamp" in claim["metadata"]:
        return "PVC is being deleted"
    if claim["status"].get("phase") != "Bound" or not claim["spec"].get("volumeName"):
        return "PVC is not bound"
    return ""
