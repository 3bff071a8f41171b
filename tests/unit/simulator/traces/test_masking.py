"""Names taken out of a recording."""

import json

from scheduler.simulator.traces.masking import Mask
from scheduler.simulator.traces.rows import NodeRow, PodRow

MASK = Mask(b"salt")
GI = 2**30


def masked_node(**fields):
    return MASK.node(NodeRow(name="rack1", cpu_milli=1, memory_bytes=1, **fields))


def masked_pod(**fields):
    defaults = {"name": "a", "created_at_s": 0, "cpu_request_milli": 1, "memory_request_bytes": 1}
    return MASK.pod(PodRow(**{**defaults, **fields}))


def test_what_was_alike_stays_alike_and_the_rest_differs():
    assert MASK.name("shop") == MASK.name("shop") != MASK.name("bank")
    assert Mask(b"other salt").name("shop") != MASK.name("shop")
    assert MASK.name("") == ""


def test_all_names_of_a_pod_are_taken_out_and_its_numbers_stay():
    row = masked_pod(
        name="web-1",
        namespace="shop",
        workload="web",
        workload_kind="StatefulSet",
        node="rack1",
        priority=7,
        run_s=None,
    )

    assert (row.name, row.namespace, row.workload, row.node) == tuple(
        MASK.name(text) for text in ("web-1", "shop", "web", "rack1")
    )
    assert (row.kind, row.priority, row.cpu_request_milli) == ("StatefulSet", 7, 1)


def test_a_selector_goes_on_selecting():
    node = masked_node(labels="kubernetes.io/hostname=rack1,team=red,cores=64")
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [
                            {"key": "team", "operator": "In", "values": ["red"]},
                            {"key": "cores", "operator": "Gt", "values": ["32"]},
                        ],
                        "matchFields": [
                            {"key": "metadata.name", "operator": "In", "values": ["rack1"]}
                        ],
                    }
                ]
            }
        },
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "labelSelector": {"matchLabels": {"app": "web"}},
                    "namespaces": ["shop"],
                    "topologyKey": "kubernetes.io/hostname",
                }
            ]
        },
    }
    pod = masked_pod(
        labels="app=web",
        constraints=json.dumps({"nodeSelector": {"team": "red"}, "affinity": affinity}),
    )

    fields = pod.constraint_fields
    assert fields["nodeSelector"].items() <= node.label_map.items()
    of_nodes = fields["affinity"]["nodeAffinity"]
    [term] = of_nodes["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    team, cores = term["matchExpressions"]
    assert node.label_map[team["key"]] == team["values"][0]
    assert (node.label_map[cores["key"]], cores["values"]) == ("64", ["32"])
    assert term["matchFields"] == [
        {"key": "metadata.name", "operator": "In", "values": [node.name]}
    ]
    [apart] = fields["affinity"]["podAntiAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert apart["labelSelector"]["matchLabels"] == pod.label_map
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert apart["namespaces"] == [MASK.name("shop")]
    assert not [name for name in ("team", "red", "web", "shop") if f'"{name}"' in pod.constraints]


def test_taints_stay_tolerated():
    node = masked_node(taints="team=red:NoSchedule")
    toleration = {"key": "team", "operator": "Equal", "value": "red", "effect": "NoSchedule"}

    pod = masked_pod(constraints=json.dumps({"tolerations": [toleration]}))

    [(key, value, effect)] = node.taint_list
    assert pod.constraint_fields["tolerations"] == [
        {"key": key, "operator": "Equal", "value": value, "effect": effect}
    ]
    assert "red" not in pod.constraints


def test_what_was_used_is_named_as_its_workload_is():
    row = masked_pod(namespace="shop", workload="web")

    assert MASK.workload("shop/Deployment/web") == f"{row.namespace}/{row.kind}/{row.owner}"
