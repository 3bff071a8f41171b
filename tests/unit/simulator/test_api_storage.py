"""What the simulated API server lets volumes, claims and storage classes be."""

import pytest

from tests.api_world import MERGE, Api

CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"

BODIES = {
    CLAIMS: {
        "metadata": {"name": "one"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "fast",
        },
    },
    VOLUMES: {
        "metadata": {"name": "one"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "csi": {"driver": "d", "volumeHandle": "h"},
        },
    },
    CLASSES: {"metadata": {"name": "one"}, "provisioner": "p"},
}


def changed(path, **fields):
    """A body of that kind with some fields changed, or left out if they are None."""
    body = BODIES[path]
    if path == CLASSES:
        return {**body, **fields}
    spec = {**body["spec"], **fields}
    return {**body, "spec": {key: value for key, value in spec.items() if value is not None}}


@pytest.mark.parametrize(
    ("path", "fields", "field"),
    [
        pytest.param(CLAIMS, {"accessModes": None}, "spec.accessModes", id="no mode"),
        pytest.param(CLAIMS, {"accessModes": ["Mine"]}, "spec.accessModes", id="unknown mode"),
        pytest.param(CLAIMS, {"resources": None}, "spec.resources[storage]", id="no size"),
        pytest.param(CLAIMS, {"volumeMode": "Tape"}, "spec.volumeMode", id="volume mode"),
        pytest.param(
            CLAIMS,
            {"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]},
            "spec.accessModes",
            id="one pod, and more",
        ),
        pytest.param(VOLUMES, {"capacity": None}, "spec.capacity", id="no capacity"),
        pytest.param(VOLUMES, {"csi": None}, "spec", id="no source"),
        pytest.param(
            VOLUMES,
            {"persistentVolumeReclaimPolicy": "Keep"},
            "spec.persistentVolumeReclaimPolicy",
            id="policy",
        ),
        pytest.param(
            VOLUMES,
            {"nodeAffinity": {"required": {"nodeSelectorTerms": []}}},
            "spec.nodeAffinity.required.nodeSelectorTerms",
            id="affinity",
        ),
        pytest.param(CLASSES, {"provisioner": ""}, "provisioner", id="no provisioner"),
        pytest.param(CLASSES, {"volumeBindingMode": "Later"}, "volumeBindingMode", id="binding"),
    ],
)
def test_what_makes_no_sense_is_refused(path, fields, field):
    status, answer = Api()("POST", path, changed(path, **fields))

    assert (status, answer["reason"]) == (422, "Invalid")
    assert field in {cause["field"] for cause in answer["details"]["causes"]}


@pytest.mark.parametrize(
    ("path", "patch", "status"),
    [
        pytest.param(CLAIMS, {"spec": {"volumeName": "v"}}, 200, id="a volume is found"),
        pytest.param(CLAIMS, {"spec": {"storageClassName": "slow"}}, 422, id="another class"),
        pytest.param(CLAIMS, {"spec": {"accessModes": ["ReadOnlyMany"]}}, 422, id="other modes"),
        pytest.param(
            CLAIMS, {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}, 200, id="more"
        ),
        pytest.param(VOLUMES, {"spec": {"claimRef": {"name": "c"}}}, 200, id="a claim is found"),
        pytest.param(VOLUMES, {"spec": {"csi": {"volumeHandle": "x"}}}, 422, id="another disk"),
        pytest.param(CLASSES, {"reclaimPolicy": "Retain"}, 422, id="another policy"),
        pytest.param(CLASSES, {"volumeBindingMode": "WaitForFirstConsumer"}, 422, id="binding"),
        pytest.param(CLASSES, {"allowVolumeExpansion": True}, 200, id="expansion"),
    ],
)
def test_what_data_depend_on_stays(path, patch, status):
    api = Api()
    api.made(path, BODIES[path])

    assert api("PATCH", f"{path}/one", patch, content_type=MERGE)[0] == status
