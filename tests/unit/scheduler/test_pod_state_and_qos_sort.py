"""PodState: who leaves a node, and who waits for it. QOSSort: who is next, and what class it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.objects import ResourceRequirements
from kube.qos import Qos, qos_of
from scheduler.framework.checks import check_score_plugin
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PluginArgs, Waiting
from scheduler.framework.objects import ClusterObjects
from scheduler.framework.status import SKIP
from scheduler.model import PodFacts
from scheduler.plugins.pod_state import PodState
from scheduler.plugins.qos_sort import QOSSort
from tests.builders import make_container, make_pod
from tests.unit.scheduler.worlds import make_facts, make_pending, make_snapshot

STATE = PodState(PluginArgs())


def cluster(going, promised):
    """Make nodes with so many pods that are leaving, and that were promised room."""
    names = [f"n{i}" for i in range(len(going))]
    pods = [
        (make_pending(f"{name}-{i}", is_terminating=i < n), name)
        for name, n in zip(names, going, strict=True)
        for i in range(n + 1)
    ]
    snapshot = make_snapshot(*(make_facts(name) for name in names), pods=pods)
    for name, n in zip(names, promised, strict=True):
        for i in range(n):
            snapshot.nominations.put(make_pending(f"promised-{name}-{i}"), node=name)
    return snapshot


def test_keeps_the_contract_of_a_score_plugin():
    check_score_plugin(STATE)


def test_leaving_pods_count_for_a_node_and_promised_ones_against_it():
    snapshot = cluster(going=[3, 1, 0], promised=[0, 1, 2])
    raw = STATE.score(CycleState(), pod=make_pending(), snapshot=snapshot)

    assert raw.tolist() == [3, 0, -2]
    assert STATE.normalize(raw).tolist() == [100, 40, 0]


def test_a_pod_is_not_in_its_own_way():
    snapshot = cluster(going=[0, 0], promised=[1, 0])
    [own] = snapshot.nominations.on_node("n0")

    assert STATE.score(CycleState(), pod=own, snapshot=snapshot).tolist() == [0, 0]


def test_stands_aside_while_nobody_comes_or_goes():
    feasible = np.ones(2, dtype=np.bool_)

    def pre_score(going, promised):
        snapshot = cluster(going, promised)
        return STATE.pre_score(
            CycleState(), pod=make_pending(), snapshot=snapshot, feasible=feasible
        )

    assert pre_score([0, 0], [0, 0]) is SKIP
    assert pre_score([1, 0], [0, 0]).is_success
    assert pre_score([0, 0], [0, 1]).is_success


def test_who_was_promised_a_node_that_is_gone_counts_nowhere():
    snapshot = cluster(going=[1, 0], promised=[0, 1])
    snapshot.remove_node("n1")

    assert STATE.score(CycleState(), pod=make_pending(), snapshot=snapshot).tolist() == [1]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=6))
def test_the_more_leave_and_the_fewer_come_the_better(counts):
    going, promised = zip(*counts, strict=True)

    raw = STATE.score(CycleState(), pod=make_pending(), snapshot=cluster(going, promised))

    assert raw.tolist() == [leaving - coming for leaving, coming in counts]
    scores = STATE.normalize(raw)
    assert ((scores >= 0) & (scores <= 100)).all()
    assert (np.diff(scores[np.argsort(raw)]) >= 0).all()


SORT = QOSSort(PluginArgs())


def key(*, priority=0, qos=Qos.BEST_EFFORT, queued_at_s=0.0):
    waiting = Waiting(
        pod=make_pending(qos=qos), priority=priority, queued_at_s=queued_at_s, since_s=0.0
    )
    return SORT.sort_key(waiting, objects=ClusterObjects())


def test_priority_comes_first_then_the_class_then_time():
    expected = [
        key(priority=2, queued_at_s=9.0),
        key(priority=1, qos=Qos.GUARANTEED, queued_at_s=5.0),
        key(priority=1, qos=Qos.GUARANTEED, queued_at_s=6.0),
        key(priority=1, qos=Qos.BURSTABLE, queued_at_s=1.0),
        key(priority=1, queued_at_s=0.0),
    ]

    assert sorted(expected) == expected


BOTH = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("containers", "qos"),
    [
        pytest.param([({}, {})], Qos.BEST_EFFORT, id="nothing"),
        pytest.param([({"example.com/gpu": "1"}, {})], Qos.BEST_EFFORT, id="devices do not count"),
        pytest.param([({"cpu": "0"}, {})], Qos.BEST_EFFORT, id="nothing asked for"),
        pytest.param([({"cpu": "1"}, {})], Qos.BURSTABLE, id="a request"),
        pytest.param([({}, {"cpu": "1"})], Qos.BURSTABLE, id="one limit of two"),
        pytest.param([(BOTH, BOTH)], Qos.GUARANTEED, id="as much as the limits"),
        pytest.param([({"cpu": "1000m"}, BOTH)], Qos.GUARANTEED, id="limits stand for requests"),
        pytest.param([({"cpu": "500m"}, BOTH)], Qos.BURSTABLE, id="less than the limits"),
        pytest.param([(BOTH, BOTH), ({}, {})], Qos.BURSTABLE, id="not every container"),
    ],
)
def test_the_class_follows_from_requests_and_limits(containers, qos):
    made = [
        make_container(f"c{i}", requests=requests, limits=limits)
        for i, (requests, limits) in enumerate(containers)
    ]

    assert qos_of(make_pod(containers=made)) is qos
    assert PodFacts.from_pod(make_pod(containers=made)).qos is qos


def test_init_containers_count_and_what_the_pod_asks_for_as_a_whole_outdoes_them():
    pod = make_pod(
        containers=[make_container(requests=BOTH, limits=BOTH)],
        init_containers=[make_container("setup")],
    )
    spec = pod.spec
    whole = type(spec)(
        containers=spec.containers,
        init_containers=spec.init_containers,
        resources=ResourceRequirements(limits=BOTH),
    )

    assert qos_of(pod) is Qos.BURSTABLE
    assert qos_of(type(pod)(metadata=pod.metadata, spec=whole)) is Qos.GUARANTEED


def test_the_class_that_the_api_server_has_written_down_is_taken():
    pod = make_pod()
    status = type(pod.status)(qos_class="Guaranteed")

    assert qos_of(type(pod)(metadata=pod.metadata, spec=pod.spec, status=status)) is Qos.GUARANTEED
