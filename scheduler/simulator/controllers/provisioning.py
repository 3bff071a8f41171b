"""What a storage provisioner makes of a claim."""

from typing import Final

from kube.storage import SELECTED_NODE
from scheduler.simulator.claims import annotations_of
from scheduler.simulator.resources import CSI_NODES, NODES, Object
from scheduler.simulator.store import Store

PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"


def provisioned_volume(claim: Object, storage_class: Object, *, store: Store) -> Object:
    """A new volume for the claim, set aside for it.

    It can be reached from where the driver says that the selected node's volumes can: the node's
    values of the topology keys in its CSINode. Without such keys it can be reached from anywhere.
    """
    meta, spec = claim["metadata"], claim["spec"]
    provisioner, name = storage_class["provisioner"], f"pvc-{meta['uid']}"
    volume_spec: Object = {
        "accessModes": spec.get("accessModes") or [],
        "capacity": {"storage": spec["resources"]["requests"]["storage"]},
        "claimRef": claim_reference(claim),
        "csi": {"driver": provisioner, "volumeHandle": name},
        "persistentVolumeReclaimPolicy": storage_class["reclaimPolicy"],
        "storageClassName": storage_class["metadata"]["name"],
        "volumeMode": spec["volumeMode"],
    }
    if options := storage_class.get("mountOptions"):
        volume_spec["mountOptions"] = options
    if terms := _topology(claim, storage_class, store=store):
        volume_spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
    return {
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: provisioner}},
        "spec": volume_spec,
    }


def claim_reference(claim: Object) -> Object:
    """Refer to a claim as volumes do."""
    meta = claim["metadata"]
    return {
        "kind": "PersistentVolumeClaim",
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
        "apiVersion": "v1",
        "resourceVersion": meta["resourceVersion"],
    }


def _topology(claim: Object, storage_class: Object, *, store: Store) -> list[Object]:
    selected = annotations_of(claim).get(SELECTED_NODE)
    if selected is None:
        allowed = storage_class.get("allowedTopologies") or ()
        return [
            {"matchExpressions": [{**e, "operator": "In"} for e in term["matchLabelExpressions"]]}
            for term in allowed
        ]
    node = store.get(NODES, None, selected)
    labels = node["metadata"].get("labels") or {}
    keys = _topology_keys(selected, driver=storage_class["provisioner"], store=store)
    expressions = [
        {"key": key, "operator": "In", "values": [labels[key]]} for key in keys if key in labels
    ]
    return [{"matchExpressions": expressions}] if expressions else []


def _topology_keys(node: str, *, driver: str, store: Store) -> list[str]:
    found = store.find(CSI_NODES, None, node)
    drivers = (found["spec"].get("drivers") or ()) if found else ()
    return [
        key
        for each in drivers
        if each.get("name") == driver
        for key in each.get("topologyKeys") or ()
    ]
