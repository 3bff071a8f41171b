"""Every kind that a kube-scheduler reads or writes is created, read, changed and deleted alike."""

import pytest

from tests.api_world import MERGE, Api, container

TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container()]}}
SELECTOR = {"matchLabels": {"a": "b"}}
CORE, STORAGE, DRA = "/api/v1", "/apis/storage.k8s.io/v1", "/apis/resource.k8s.io/v1"
IN_DEFAULT = "namespaces/default"
DEVICES = {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu"}}]}}

KINDS = {
    f"{CORE}/namespaces": {},
    f"{CORE}/nodes": {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},
    f"{CORE}/{IN_DEFAULT}/pods": {"spec": {"containers": [container()]}},
    f"{CORE}/{IN_DEFAULT}/services": {"spec": {"ports": [{"port": 80}]}},
    f"{CORE}/{IN_DEFAULT}/replicationcontrollers": {
        "spec": {"selector": {"a": "b"}, "template": TEMPLATE}
    },
    f"{CORE}/persistentvolumes": {
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "csi": {"driver": "d", "volumeHandle": "h"},
        }
    },
    f"{CORE}/{IN_DEFAULT}/persistentvolumeclaims": {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "fast",
        }
    },
    f"/apis/apps/v1/{IN_DEFAULT}/replicasets": {
        "spec": {"selector": SELECTOR, "template": TEMPLATE}
    },
    f"/apis/apps/v1/{IN_DEFAULT}/statefulsets": {
        "spec": {"selector": SELECTOR, "template": TEMPLATE, "serviceName": "s"}
    },
    f"/apis/policy/v1/{IN_DEFAULT}/poddisruptionbudgets": {
        "spec": {"selector": SELECTOR, "minAvailable": 1}
    },
    f"{STORAGE}/storageclasses": {"provisioner": "p"},
    f"{STORAGE}/csinodes": {
        "spec": {"drivers": [{"name": "d", "nodeID": "n", "allocatable": {"count": 3}}]}
    },
    f"{STORAGE}/csidrivers": {"spec": {"storageCapacity": True}},
    f"{STORAGE}/{IN_DEFAULT}/csistoragecapacities": {"storageClassName": "s", "capacity": "1Gi"},
    f"{STORAGE}/volumeattachments": {
        "spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "v"}}
    },
    f"{DRA}/deviceclasses": {"spec": {"selectors": [{"cel": {"expression": "true"}}]}},
    f"{DRA}/{IN_DEFAULT}/resourceclaims": {"spec": DEVICES},
    f"{DRA}/{IN_DEFAULT}/resourceclaimtemplates": {"spec": {"spec": DEVICES}},
    f"{DRA}/resourceslices": {
        "spec": {
            "driver": "d",
            "nodeName": "n",
            "pool": {"name": "n", "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "gpu-0", "capacity": {"memory": {"value": "1Gi"}}}],
        }
    },
    "/apis/scheduling.k8s.io/v1/priorityclasses": {"value": 10},
    f"/apis/coordination.k8s.io/v1/{IN_DEFAULT}/leases": {"spec": {"holderIdentity": "a"}},
    f"/apis/events.k8s.io/v1/{IN_DEFAULT}/events": {"note": "n", "regarding": {"kind": "Pod"}},
}


def contains(found, wanted):
    """Tell whether *found* holds all of *wanted*, and perhaps more."""
    if isinstance(wanted, dict):
        return all(key in found and contains(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(contains, found, wanted))
    return found == wanted


@pytest.mark.parametrize("path", [pytest.param(path, id=path.split("/")[-1]) for path in KINDS])
def test_a_kind_lives_from_creation_to_deletion(path):
    api, body, labels = Api(), KINDS[path], {"metadata": {"labels": {"x": "y"}}}

    made = api.made(path, {"metadata": {"name": "one"}, **body})
    listed = api("GET", path)[1]["items"]
    patched = api("PATCH", f"{path}/one", labels, content_type=MERGE)
    replaced = api("PUT", f"{path}/one", patched[1])
    deleted = api("DELETE", f"{path}/one")

    assert contains(made, body)
    assert [each["metadata"]["name"] for each in listed].count("one") == 1
    assert (patched[0], patched[1]["metadata"]["labels"]["x"]) == (200, "y")
    assert replaced == patched
    assert deleted[0] == 200
