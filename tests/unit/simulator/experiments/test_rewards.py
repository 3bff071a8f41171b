"""What a run is worth: terms with units, added up as time passes."""

import numpy as np
import pytest

from scheduler.simulator import changes as ch
from scheduler.simulator.experiments.rewards import Meter, Occupancy, PodMix, RewardWeights

HOUR_S = 3600.0
GI = 2**30


def make_meter(weights=None, *, mix=None):
    return Meter(weights or RewardWeights(), mix=mix, now_s=0.0, lacking_core_s=100.0)


def nodes(*, cpu_requested=(0.0, 0.0), n_pods=(0.0, 0.0), usage=(0.0, 0.0), pods=(10.0, 10.0)):
    """Two nodes of four cores and 8 GiB."""
    return Occupancy(
        cpu_allocatable_milli=np.array([4000.0, 4000.0]),
        memory_allocatable_bytes=np.array([8.0 * GI, 8.0 * GI]),
        pods_allocatable=np.array(pods),
        cpu_requested_milli=np.array(cpu_requested),
        memory_requested_bytes=np.zeros(2),
        n_pods=np.array(n_pods),
        cpu_usage_ratio=np.array(usage),
    )


def exited(code, cause="crashed"):
    return ch.ContainerExited(at_s=0.0, pod="p", container="app", exit_code=code, cause=cause)


def test_what_stands_costs_until_something_changes():
    meter = make_meter()
    meter.look(nodes(n_pods=(1.0, 0.0)), n_pending=3)
    meter.pass_until(HOUR_S / 2, lacking_core_s=100.0)
    meter.look(nodes(n_pods=(1.0, 2.0)), n_pending=1)
    meter.pass_until(HOUR_S, lacking_core_s=100.0)
    terms = meter.take()

    assert terms["pending"] == pytest.approx(2.0)
    assert terms["nodes_on"] == pytest.approx(1.5)


def test_the_last_look_at_an_instant_counts():
    meter = make_meter()
    meter.look(nodes(), n_pending=7)
    meter.look(nodes(), n_pending=1)
    meter.pass_until(HOUR_S, lacking_core_s=100.0)

    assert meter.take()["pending"] == pytest.approx(1.0)


def test_terms_are_handed_over_once():
    meter = make_meter()
    meter.look(nodes(), n_pending=1)
    meter.pass_until(HOUR_S, lacking_core_s=100.0)
    meter.take()

    assert set(meter.take().values()) == {0.0}


def test_containers_that_end_badly_and_evictions_are_failures():
    meter = make_meter()
    for change in (
        exited(0, "completed"),
        exited(1),
        exited(137, "limit"),
        exited(255, "node_failed"),
        ch.NodeFailed(at_s=0.0, node="n1"),
        ch.PodEvicted(
            at_s=0.0,
            pod="p",
            node="n1",
            available_bytes=0,
            container="app",
            used_bytes=2,
            requested_bytes=1,
        ),
    ):
        meter.witness(change)

    assert meter.take()["failures"] == 4.0


def test_throttling_is_in_core_hours():
    meter = make_meter()
    meter.pass_until(10.0, lacking_core_s=100.0 + 2 * HOUR_S)

    assert meter.take()["throttling"] == pytest.approx(2.0)


def test_imbalance_is_the_standard_deviation_of_utilisation():
    meter = make_meter()
    meter.look(nodes(usage=(0.2, 0.8)), n_pending=0)
    meter.pass_until(2 * HOUR_S, lacking_core_s=100.0)

    assert meter.take()["imbalance"] == pytest.approx(0.6)


def test_fragmentation_is_free_cpu_that_the_typical_pod_cannot_use():
    mix = PodMix.of([(500, GI, 3.0), (3000, GI, 1.0)])
    meter = make_meter(RewardWeights(fragmentation=1.0), mix=mix)
    # Half of the first node is free, and a quarter of the pods, the large ones, do not fit there.
    meter.look(nodes(cpu_requested=(2000.0, 0.0)), n_pending=0)
    meter.pass_until(HOUR_S, lacking_core_s=100.0)
    assert meter.take()["fragmentation"] == pytest.approx(0.5 * 0.25)
    # The second takes no more pods at all.
    meter.look(nodes(n_pods=(0.0, 10.0)), n_pending=0)
    meter.pass_until(2 * HOUR_S, lacking_core_s=100.0)

    assert meter.take()["fragmentation"] == pytest.approx(1.0)


def test_fragmentation_is_reckoned_only_where_it_costs():
    meter = make_meter(mix=PodMix.of([(9000, GI, 1.0)]))
    meter.look(nodes(), n_pending=0)
    meter.pass_until(HOUR_S, lacking_core_s=100.0)

    assert meter.take()["fragmentation"] == 0.0


def test_a_cost_is_the_weighted_sum():
    weights = RewardWeights(pending=2.0, failures=3.0, nodes_on=0.5)

    assert weights.cost_of({"pending": 1.0, "failures": 2.0, "nodes_on": 4.0}) == 10.0
