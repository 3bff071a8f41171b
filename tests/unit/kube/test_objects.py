import gc
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kube.decoding import decode_list, decode_object, gc_paused
from kube.errors import UnavailableError
from kube.objects import Node, NodeMetrics, Pod, PodMetrics, controller_of
from tests.builders import at, make_container_status, make_node, make_pod, to_wire

RECORDINGS = Path(__file__).parents[2] / "data" / "wire"


def recorded(topic: str, kind: str) -> list[dict[str, Any]]:
    """Give all objects of *kind* that a real server answered with."""
    found = []
    for exchange in json.loads((RECORDINGS / f"{topic}.json").read_text()):
        response = exchange["response"]
        events = response if isinstance(response, list) else [{"object": response}]
        for document in (event.get("object", {}) for event in events):
            items = document.get("items") or [document]
            found += [{"kind": kind, **i} if "items" in document else i for i in items]
    return [d for d in found if d.get("kind") == kind and "uid" in d.get("metadata", {})]


@pytest.mark.parametrize(
    ("topic", "kind", "object_type"),
    [("nodes", "Node", Node), ("pods", "Pod", Pod), ("binding", "Pod", Pod), ("watch", "Pod", Pod)],
)
def test_what_a_real_server_sends_decodes(topic, kind, object_type):
    documents = recorded(topic, kind)

    decoded = [decode_object(json.dumps(d).encode(), object_type) for d in documents]

    assert documents
    assert [o.metadata.uid for o in decoded] == [d["metadata"]["uid"] for d in documents]


@pytest.mark.parametrize(
    "obj",
    [
        make_pod(
            requests={"cpu": "1"},
            host_ports=[80],
            required_labels={"zone": ["a"]},
            owner=("ReplicaSet", "web"),
            statuses=[make_container_status(terminated=(1, "Error"))],
            ready_at=at(5),
        ),
        make_node(unschedulable=True, taints=[]),
    ],
)
def test_what_is_built_survives_the_wire(obj):
    assert msgspec.convert(to_wire(obj), type(obj)) == obj


def test_absent_and_null_fields_have_kubernetes_defaults():
    pod = decode_object(
        b'{"metadata":{"name":"a","namespace":"b","labels":null},"spec":{"containers":null}}', Pod
    )

    assert pod.key == "b/a"
    assert pod.spec.scheduler_name == "default-scheduler"
    assert pod.spec.requests == {}
    assert pod.status.phase == "Pending"


def test_keys_hold_a_namespace_only_where_there_is_one():
    assert make_node("a").metadata.key == "a"
    assert make_pod("a", namespace="b").metadata.key == "b/a"


def test_a_controller_is_the_owner_that_says_so():
    assert controller_of(make_pod().metadata) is None
    owner = controller_of(make_pod(owner=("ReplicaSet", "web")).metadata)
    assert owner is not None
    assert (owner.kind, owner.name) == ("ReplicaSet", "web")


def test_a_node_without_allocatable_offers_its_capacity():
    node = decode_object(b'{"metadata":{"name":"a"},"status":{"capacity":{"cpu":"2"}}}', Node)

    assert node.status.allocatable_amounts == {"cpu": 2000}
    assert not node.is_ready
    assert make_node().is_ready


def test_usage_decodes():
    usage = b'"timestamp":"2026-01-02T03:04:05Z","window":"20s"'
    pod = decode_object(
        b'{"metadata":{"name":"a"},' + usage + b',"containers":[{"usage":{"cpu":"5m"}}]}',
        PodMetrics,
    )
    node = decode_object(b'{"metadata":{"name":"a"},' + usage + b',"usage":{}}', NodeMetrics)

    assert pod.containers is not None
    assert pod.containers[0].usage == {"cpu": "5m"}
    assert node.timestamp == pod.timestamp


@pytest.mark.parametrize("data", [b"", b"[]", b'{"items":[{"metadata":{"name":1}}]}', b"\xff"])
def test_what_is_no_list_is_refused(data):
    with pytest.raises(UnavailableError):
        decode_list(data, Pod)


def test_the_garbage_collector_is_switched_on_again_by_the_last_to_leave():
    with gc_paused():
        with gc_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_garbage_collector_that_was_off_stays_off():
    gc.disable()
    try:
        with gc_paused():
            pass

        assert not gc.isenabled()
    finally:
        gc.enable()
