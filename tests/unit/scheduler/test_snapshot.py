"""The snapshot and the cache: columns kept up to date are what a rebuild would give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.quantity import CPU
from scheduler.cache import ClusterCache
from scheduler.framework.columns import Labels, parse_int64
from scheduler.framework.interface import ClusterEvent
from scheduler.framework.snapshot import Snapshot
from scheduler.model import PODS, HostPort, Taint
from tests.unit.scheduler.worlds import make_facts, make_pending

NODES = [
    make_facts(name, cpu_milli=cpu, labels=labels, taints=taints, is_unschedulable=cordoned)
    for name in ("n1", "n2", "n3")
    for cpu, labels, taints, cordoned in [
        (1000, {"zone": "a"}, (), False),
        (2000, {"zone": "b", "name": name}, (Taint("k", "v", "NoSchedule"),), True),
    ]
]
PODS_SEEN = [
    make_pending(f"p{i}", cpu_milli=cpu, node_name=node, host_ports=ports)
    for i in range(4)
    for cpu, node, ports in [
        (100, "n1", frozenset()),
        (200, "n2", frozenset({HostPort("0.0.0.0", "TCP", 80)})),
        (100, "n4", frozenset()),
    ]
]
STEPS = st.one_of(
    st.sampled_from(NODES).map(lambda node: ("set", node)),
    st.sampled_from(["n1", "n2", "n3"]).map(lambda name: ("remove", name)),
    st.sampled_from(PODS_SEEN).map(lambda pod: ("add", pod)),
    st.sampled_from(PODS_SEEN).map(lambda pod: ("assume", pod)),
    st.sampled_from(PODS_SEEN).map(lambda pod: ("gone", pod.uid)),
    st.sampled_from(PODS_SEEN).map(lambda pod: ("forget", pod.uid)),
)


def columns_of(snapshot):
    """Everything a plugin can see, by node name."""
    found = {}
    for name in snapshot.names:
        row = snapshot.rows[name]
        amounts = {}
        for kind in ("allocatable", "requested", "scored_requested", "taints", "host_ports"):
            columns = getattr(snapshot, kind)
            amounts[kind] = {key: columns.value(row, key=key) for key in columns.present()}
            amounts[kind] = {key: value for key, value in amounts[kind].items() if value}
        zones = [z for z in "ab" if snapshot.labels.is_in("zone", values=[z])[row]]
        marks = (bool(snapshot.unschedulable[row]), int(snapshot.name_hashes[row]))
        found[name] = (amounts, zones, bool(snapshot.labels.has("name")[row]), marks)
    return found


class Story:
    """A cache, and beside it in plain dictionaries what it should hold."""

    def __init__(self):
        self.cache = ClusterCache()
        self.nodes, self.pods, self.assumed = {}, {}, set()

    def set(self, node):
        self.cache.set_node(node)
        self.nodes[node.name] = node

    def remove(self, name):
        self.cache.remove_node(name)
        self.nodes.pop(name, None)

    def add(self, pod):
        self.cache.add_pod(pod)
        self.pods[pod.uid] = pod
        self.assumed.discard(pod.uid)

    def assume(self, pod):
        self.cache.assume(pod, node=pod.node_name)
        self.pods[pod.uid] = pod
        self.assumed.add(pod.uid)

    def gone(self, uid):
        assert self.cache.remove_pod(uid) == (uid in self.pods)
        self.pods.pop(uid, None)
        self.assumed.discard(uid)

    def forget(self, uid):
        assert self.cache.forget(uid) == (uid in self.assumed)
        if uid in self.assumed:
            del self.pods[uid]
            self.assumed.remove(uid)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(steps=st.lists(STEPS, max_size=40))
def test_any_order_of_news_leaves_what_a_rebuild_would_give(steps):
    story = Story()

    for what, item in steps:
        getattr(story, what)(item)

    rebuilt = Snapshot()
    for node in story.nodes.values():
        rebuilt.set_node(node)
    for pod in story.pods.values():
        if pod.node_name in story.nodes:
            rebuilt.add_pod(pod, node=pod.node_name)
    assert columns_of(story.cache.snapshot) == columns_of(rebuilt)
    assert story.cache.n_pods == len(story.pods)
    assert story.cache.n_assumed == len(story.assumed)


def test_columns_of_what_no_node_has_any_more_are_dropped():
    snapshot = Snapshot()
    snapshot.set_node(make_facts("n1", taints=(Taint("a", "", "NoSchedule"),), labels={"x": "y"}))
    snapshot.set_node(make_facts("n1"))

    assert snapshot.taints.present() == []
    assert snapshot.labels._columns == {}


def test_hundreds_of_nodes_that_come_and_go_leave_no_trace_in_the_labels():
    snapshot = Snapshot()
    for i in range(500):
        snapshot.set_node(make_facts(f"n{i}", labels={"hostname": f"n{i}"}))
        if i >= 5:
            snapshot.remove_node(f"n{i - 5}")

    assert len(snapshot.labels._columns["hostname"].values) < 50
    assert snapshot.labels.is_in("hostname", values=["n499"])[snapshot.rows["n499"]]
    assert np.count_nonzero(snapshot.labels.has("hostname")) == 5


def test_a_column_that_nobody_has_is_zero():
    snapshot = Snapshot()
    snapshot.set_node(make_facts("n1"))

    assert snapshot.requested["example.com/gpu"].tolist() == [0]
    assert snapshot.requested[PODS].tolist() == [0]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", 7),
        ("-7", -7),
        ("+7", 7),
        ("", None),
        ("7.0", None),
        ("x", None),
        (str(2**63), None),
        ("٣", None),
    ],
)
def test_label_values_are_read_as_go_reads_them(text, number):
    assert parse_int64(text) == number


def test_comparing_leaves_out_what_is_no_number():
    labels = Labels()
    for row, value in enumerate(["4", "x", None, "9"]):
        labels.append_row()
        labels.set(row, key="cores", value=value)

    below, above = labels.compare("cores", limit=5)

    assert below.tolist() == [True, False, False, False]
    assert above.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("before", "after", "event"),
    [
        pytest.param({}, {}, ClusterEvent(0), id="nothing changed"),
        pytest.param({}, {"cpu_milli": 5000}, ClusterEvent.NODE_ALLOCATABLE, id="grew"),
        pytest.param({}, {"cpu_milli": 1000}, ClusterEvent(0), id="shrank"),
        pytest.param({}, {"labels": {"a": "b"}}, ClusterEvent.NODE_LABEL, id="label"),
        pytest.param({"is_unschedulable": True}, {}, ClusterEvent.NODE_TAINT, id="uncordoned"),
        pytest.param({}, {"is_unschedulable": True}, ClusterEvent(0), id="cordoned"),
    ],
)
def test_tells_what_a_changed_node_may_mean(before, after, event):
    cache = ClusterCache()
    added = cache.set_node(make_facts("n1", **before))

    assert added.event == ClusterEvent.NODE_ADD
    assert cache.set_node(make_facts("n1", **after)).event == event


def test_a_resized_pod_counts_with_its_new_size():
    cache = ClusterCache()
    cache.set_node(make_facts("n1"))
    cache.add_pod(make_pending("a", cpu_milli=100, node_name="n1"))
    cache.add_pod(make_pending("a", cpu_milli=300, node_name="n1"))

    assert cache.snapshot.node("n1").requested[CPU] == 300
