"""The custom resources of schedulers' plugins: as their definitions say, and as we read them."""

from pathlib import Path

import msgspec
import pytest
import yaml

from kube.custom import (
    AppGroup,
    ElasticQuota,
    NetworkTopology,
    NodeResourceTopology,
    PodGroup,
    SeccompProfile,
    read_amounts,
)
from tests.api_world import Api

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
CRDS = Path(__file__).parents[3] / "config" / "crds"
SERVICE = {"kind": "Deployment", "name": "cart", "selector": "cart"}

EXAMPLES = {
    PodGroup: (
        ["pg", "pgs"],
        ["Phase", "MinMember", "Running", "Succeeded", "Failed", "Age"],
        {"spec": {"minMember": 3, "minResources": {"cpu": 2, "memory": "1Gi"}}},
    ),
    ElasticQuota: (
        ["eq", "eqs"],
        ["Used", "Max", "Age"],
        {"spec": {"min": {"cpu": 2, "memory": "1Gi"}, "max": {"cpu": "2500m"}}},
    ),
    NodeResourceTopology: (
        ["node-res-topo"],
        ["Age"],
        {
            "topologyPolicies": ["SingleNUMANodeContainerLevel"],
            "attributes": [{"name": "topologyManagerPolicy", "value": "single-numa-node"}],
            "zones": [
                {
                    "name": "node-0",
                    "type": "Node",
                    "costs": [{"name": "node-1", "value": 20}],
                    "resources": [
                        {"name": "cpu", "capacity": 20, "allocatable": "16", "available": "15500m"}
                    ],
                }
            ],
        },
    ),
    AppGroup: (
        ["ag"],
        ["Members", "Running", "Age"],
        {
            "spec": {
                "numMembers": 2,
                "topologySortingAlgorithm": "KahnSort",
                "workloads": [
                    {
                        "workload": SERVICE,
                        "dependencies": [
                            {"workload": SERVICE, "minBandwidth": "1Mi", "maxNetworkCost": 20}
                        ],
                    }
                ],
            }
        },
    ),
    NetworkTopology: (
        ["nt"],
        ["Age"],
        {
            "spec": {
                "configmapName": "latencies",
                "weights": [
                    {
                        "name": "UserDefined",
                        "topologyList": [
                            {
                                "topologyKey": "topology.kubernetes.io/zone",
                                "originList": [
                                    {
                                        "origin": "z1",
                                        "costList": [
                                            {
                                                "destination": "z2",
                                                "networkCost": 5,
                                                "bandwidthCapacity": "1Gi",
                                            }
                                        ],
                                    }
                                ],
                            }
                        ],
                    }
                ],
            }
        },
    ),
    SeccompProfile: (
        ["sp"],
        ["Status", "Age", "LocalhostProfile"],
        {
            "spec": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{"action": "SCMP_ACT_ALLOW", "names": ["read", "write"]}],
            }
        },
    ),
}


@pytest.fixture
def api():
    served = Api()
    for path in CRDS.glob("*.yaml"):
        served.made(DEFINITIONS, yaml.safe_load(path.read_text()))
    return served


def collection_of(kind):
    """Where one namespace's objects are served, or all of a kind that has no namespaces."""
    root, plural = kind.collection.rsplit("/", 1)
    return kind.collection if kind is NodeResourceTopology else f"{root}/namespaces/team/{plural}"


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_what_is_written_is_read(api, kind):
    _, columns, body = EXAMPLES[kind]
    api.made("/api/v1/namespaces", {"metadata": {"name": "team"}})

    api.made(collection_of(kind), {"metadata": {"name": "x"}, **body})

    [stored] = api("GET", kind.collection)[1]["items"]
    read = msgspec.to_builtins(msgspec.convert(stored, kind))
    table = api("GET", collection_of(kind), accept=TABLE)[1]
    assert {key: stored[key] for key in body} == body
    assert holds(read, body)
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", *columns]


def holds(read, written):
    """Tell whether all that was written was read."""
    if isinstance(written, dict):
        return all(holds(read[key], value) for key, value in written.items())
    if isinstance(written, list):
        return all(holds(*pair) for pair in zip(read, written, strict=True))
    return read == written


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_has_the_short_names_that_people_type(api, kind):
    root, plural = kind.collection.rsplit("/", 1)

    served = {each["name"]: each for each in api("GET", root)[1]["resources"]}

    assert served[plural]["kind"] == kind.__name__
    assert served[plural]["shortNames"] == EXAMPLES[kind][0]


def test_a_column_of_amounts_is_printed_as_json(api):
    body = {"metadata": {"name": "x"}, "spec": {"max": {"memory": "1Gi", "cpu": 4}}}
    api.made("/apis/scheduling.x-k8s.io/v1alpha1/namespaces/default/elasticquotas", body)

    table = api("GET", ElasticQuota.collection, accept=TABLE)[1]

    assert table["rows"][0]["cells"][:3] == ["x", None, '{"cpu":4,"memory":"1Gi"}']


def test_amounts_may_be_numbers_or_texts():
    amounts = read_amounts({"cpu": 1.5, "memory": "1Ki", "nvidia.com/gpu": 2})

    assert amounts == {"cpu": 1500, "memory": 1024, "nvidia.com/gpu": 2}
    assert read_amounts(None) == {}
