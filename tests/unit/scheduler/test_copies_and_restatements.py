"""Snapshots to try far-reaching changes on; and news of pods that are no reason to count anew."""

from dataclasses import replace

import pytest

from scheduler.cache import ClusterCache
from scheduler.model import PODS
from tests.unit.scheduler.worlds import make_facts, make_pending, make_snapshot

POD = make_pending("web", pod_group="g", node_name="n1")


def told(snapshot):
    """What a snapshot says of its pods, beside nodes and on them."""
    return (
        [snapshot.node(name) for name in snapshot.names],
        [pod.name for pod in snapshot.by_namespace.pods("default")],
        dict(snapshot.by_namespace.requested("default")),
        [pod.name for pod in snapshot.gang("default/g")],
    )


def test_what_is_tried_on_a_copy_is_seen_there_everywhere_and_nowhere_else():
    snapshot = make_snapshot(make_facts("n1"), make_facts("n2"), pods=[(POD, "n1")])
    before = told(snapshot)

    copy = snapshot.copy()
    copy.remove_pod(POD, node="n1")
    copy.add_pod(make_pending("other"), node="n2")

    assert copy.actual is copy
    assert told(snapshot) == before
    assert told(copy)[1:] == (["other"], {**before[2]}, [])
    assert copy.requested[PODS].tolist() == [0, 1]


def test_a_copy_of_a_what_if_starts_from_it():
    snapshot = make_snapshot(make_facts("n1"), pods=[(POD, "n1")])
    what_if = snapshot.what_if()
    what_if.remove_pod(POD, node="n1")

    assert what_if.copy().requested[PODS].tolist() == [0]


@pytest.mark.parametrize("is_known", [True, False], ids=["on a known node", "on an unknown one"])
def test_when_a_pod_was_scheduled_is_taken_in_without_counting_it_anew(is_known):
    cache = ClusterCache()
    cache.set_node(make_facts("n1" if is_known else "n2"))
    cache.assume(POD, node="n1")
    version = cache.snapshot.changes.version

    cache.add_pod(replace(POD, scheduled_at_s=5.0))

    assert cache.snapshot.changes.version == version
    assert cache.n_assumed == 0
    [found] = cache.snapshot.by_namespace.pods("default")
    seen = [found, cache.pod(POD.uid)]
    if is_known:
        seen += [*cache.snapshot.pods_on(0), *cache.snapshot.gang("default/g")]
    assert [each.scheduled_at_s for each in seen] == [5.0] * len(seen)
    cache.remove_pod(POD.uid)
    assert list(cache.snapshot.by_namespace.pods("default")) == []


def test_what_annotations_say_is_taken_in_without_counting_the_pod_anew():
    cache = ClusterCache()
    cache.set_node(make_facts("n1"))
    cache.assume(POD, node="n1")
    version = cache.snapshot.changes.version

    cache.assume(replace(POD, annotations={"alibabacloud.com/gpu-index": "0"}), node="n1")

    assert cache.snapshot.changes.since(version) == {0}
    assert cache.n_assumed == 1
    [found] = cache.snapshot.pods_on(0)
    assert cache.pod(POD.uid) is found
    assert dict(found.annotations) == {"alibabacloud.com/gpu-index": "0"}
    assert cache.snapshot.requested[PODS].tolist() == [1]


def test_what_departs_from_the_cluster_may_differ_where_it_was_changed():
    nodes = [make_facts(f"n{i}") for i in range(1, 5)]
    cluster = make_snapshot(*nodes, pods=[(POD, "n1")])
    copy = cluster.copy()
    copy.add_pod(make_pending("copied"), node="n2")
    what_if = copy.what_if()
    what_if.add_pod(make_pending("tried"), node="n3")

    assert set(cluster.what_if().rows_apart(cluster)) == set()
    assert set(copy.rows_apart(cluster)) == {1}
    assert set(what_if.rows_apart(cluster)) == {1, 2}
