"""How pods, claims, volumes and classes refer to each other."""

from collections.abc import Iterator
from typing import Final

from kube.storage import SELECTED_NODE, WAIT_FOR_FIRST_CONSUMER
from scheduler.simulator.resources import STORAGE_CLASSES, Object
from scheduler.simulator.store import Store

_OLD_CLASS: Final = "volume.beta.kubernetes.io/storage-class"


def annotations_of(obj: Object) -> dict[str, str]:
    """The object's annotations; empty when there are none."""
    found: dict[str, str] = obj["metadata"].get("annotations") or {}
    return found


def claim_names(pod: Object) -> Iterator[tuple[str, str]]:
    """Name and claim of each of the pod's volumes that stands for a claim."""
    for volume in pod["spec"].get("volumes") or ():
        if source := volume.get("persistentVolumeClaim"):
            yield volume["name"], source["claimName"]
        elif "ephemeral" in volume:
            yield volume["name"], f"{pod['metadata']['name']}-{volume['name']}"


def class_name(obj: Object) -> str:
    """The storage class that a claim or volume names; empty for none."""
    old = annotations_of(obj).get(_OLD_CLASS)
    return old or obj["spec"].get("storageClassName") or ""


def is_delayed(claim: Object, store: Store) -> bool:
    """Tell whether the claim waits for a scheduler's choice of a node."""
    if SELECTED_NODE in annotations_of(claim):
        return False
    found = store.find(STORAGE_CLASSES, None, class_name(claim))
    return found is not None and found.get("volumeBindingMode") == WAIT_FOR_FIRST_CONSUMER
