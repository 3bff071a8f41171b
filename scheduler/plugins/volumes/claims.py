"""The claims that a pod uses, as several plugins look at them."""

from collections.abc import Iterator

from kube.objects import controller_of
from kube.storage import PersistentVolumeClaim
from scheduler.framework.interface import Change
from scheduler.model import PodFacts, claim_name


def named_claims(pod: PodFacts) -> Iterator[str]:
    """Go through the names of the claims that *pod* names itself; ephemeral ones are left out."""
    for volume in pod.volumes:
        if volume.persistent_volume_claim is not None:
            yield volume.persistent_volume_claim.claim_name


def all_claims(pod: PodFacts) -> Iterator[tuple[str, bool]]:
    """Go through the names of all its claims; the second says whether one is made for the pod."""
    for volume in pod.volumes:
        name = claim_name(volume, pod_name=pod.name)
        if name is not None:
            yield name, volume.ephemeral is not None


def claim_not_found(name: str) -> str:
    """Say that a claim does not exist, in the API server's words."""
    return f'persistentvolumeclaim "{name}" not found'


def whose_else(claim: PersistentVolumeClaim, *, pod: PodFacts) -> str | None:
    """Say why a claim of an ephemeral volume is not the pod's own; ``None`` if it is."""
    owner = controller_of(claim.metadata)
    if owner is not None and owner.uid == pod.uid:
        return None
    return f"PVC {claim.metadata.key} was not created for pod {pod.key} (pod is not owner)"


def is_about_claim_of(pod: PodFacts, *, change: Change) -> bool:
    """Tell whether *change* is of a claim that *pod* uses."""
    after = change.after
    return isinstance(after, PersistentVolumeClaim) and after.metadata.key in pod.claims
