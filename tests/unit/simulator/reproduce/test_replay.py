"""The experiment on a small made-up cluster: where pods go, and what comes of it."""

import numpy as np
import pytest

from scheduler.plugins.gpu.columns import GpuNodes, GpuPod
from scheduler.plugins.gpu.fragmentation import PodShape, TypicalWorkload, fragmentation_milli
from scheduler.plugins.gpu.policies import POLICIES, PolicyContext
from scheduler.simulator.reproduce.curves import measure, node_usage
from scheduler.simulator.reproduce.orders import draw_order
from scheduler.simulator.reproduce.replay import REJECTED, replay
from scheduler.simulator.reproduce.study import Study
from scheduler.simulator.traces.openb import OpenbPod
from tests.unit.simulator.reproduce.makers import write_trace

WORKLOAD = TypicalWorkload.of([PodShape(1000, 500, 1, "")])
CARD = GpuPod(cpu_milli=1000, n_cards=1, card_milli=1000)
HALF = GpuPod(cpu_milli=1000, n_cards=1, card_milli=500)
CPU = GpuPod(cpu_milli=1000)


def make_nodes(*n_cards):
    return GpuNodes.of(
        cpu_milli=[10_000] * len(n_cards),
        memory_bytes=[2**30] * len(n_cards),
        n_cards=n_cards,
        model=["T4"] * len(n_cards),
        max_pods=100,
    )


def make_policy(name, nodes, *, workload=WORKLOAD, seed=0):
    return POLICIES[name](
        PolicyContext(workload=workload, idle=nodes, chance=np.random.default_rng(seed))
    )


def run(pods, nodes, *, policy="gpu-packing", arrivals=None):
    arrivals = np.arange(len(pods)) if arrivals is None else np.array(arrivals)
    return replay(pods, nodes=nodes, arrivals=arrivals, policy=make_policy(policy, nodes))


def test_of_equal_nodes_the_first_is_taken():
    placements = run([CPU, HALF, HALF, CARD], make_nodes(1, 1))

    assert placements.nodes.tolist() == [0, 0, 0, 1]
    assert placements.cards == [(), (0,), (0,), (0,)]


def test_what_fits_nowhere_is_rejected_for_good():
    placements = run([CARD, HALF], make_nodes(1), arrivals=[0, 1, 0])

    assert placements.nodes.tolist() == [0, REJECTED, REJECTED]
    assert placements.cards == [(0,), (), ()]


def test_the_cluster_given_stays_idle():
    nodes = make_nodes(2)

    run([CARD, HALF], nodes)

    assert nodes.free_card_milli.tolist() == [[1000, 1000]]


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "random"])
def test_kept_scores_change_no_placement(name, tmp_path):
    study = Study.read(write_trace(tmp_path), variant="default")
    order = study.order(1)
    nodes = study.idle_nodes(order)
    forgetful = make_policy(name, nodes, workload=study.workload)
    forgetful.is_steady = False

    again = replay(study.requests, nodes=nodes, arrivals=order.pods, policy=forgetful)

    kept = study.place(name, seed=1)
    assert kept.nodes.tolist() == again.nodes.tolist()
    assert kept.cards == again.cards
    assert (kept.nodes == REJECTED).any()


@pytest.mark.parametrize("name", POLICIES)
def test_no_node_gives_more_than_it_has(name, tmp_path):
    study = Study.read(write_trace(tmp_path), variant="default")
    order = study.order(2)
    nodes = study.idle_nodes(order)

    placements = study.place(name, seed=2)

    for which, row, cards in zip(order.pods, placements.nodes, placements.cards, strict=True):
        if row != REJECTED:
            pod = study.requests[which]
            assert len(set(cards)) == pod.n_cards
            assert not pod.n_cards or not pod.models or nodes.models[nodes.model[row]] in pod.models
            nodes.place(pod, row=row, cards=cards)
    assert nodes.free_cpu_milli.min() >= 0
    assert nodes.free_card_milli.min() >= 0
    assert nodes.free_memory_bytes.min() >= 0


def test_random_is_reproducible_and_goes_anywhere():
    nodes = make_nodes(*[1] * 20)
    arrivals = np.zeros(10, dtype=np.int64)

    first, again, other = (
        replay([CARD], nodes=nodes, arrivals=arrivals, policy=make_policy("random", nodes, seed=s))
        for s in (1, 1, 2)
    )

    assert first.nodes.tolist() == again.nodes.tolist() != other.nodes.tolist()
    assert len(set(first.nodes.tolist())) == 10


def test_curves_are_means_by_rounded_load():
    nodes = make_nodes(2, 2)  # 4 cards: a card is 25 %
    pods, arrivals = [CARD, CPU, GpuPod(cpu_milli=1000, n_cards=1, card_milli=16)], [1, 0, 2, 0]

    curves = measure(
        run(pods, nodes, arrivals=arrivals),
        pods=pods,
        arrivals=np.array(arrivals),
        nodes=nodes,
        workload=WORKLOAD,
    )

    told = {load: v for load, v in enumerate(curves.allocated.tolist()) if not np.isnan(v)}
    assert told == pytest.approx({0: 0.0, 25: (25.0 + 25.4) / 2, 50: 50.4})


def test_fragmentation_follows_each_placement(tmp_path):
    study = Study.read(write_trace(tmp_path), variant="default")
    order = study.order(3)
    placements = study.place("best-fit", seed=3)
    nodes = study.idle_nodes(order)
    capacity_milli = nodes.n_cards.sum() * 1000

    curves = measure(
        placements,
        pods=study.requests,
        arrivals=order.pods,
        nodes=nodes,
        workload=study.workload,
    )

    by_load, arrived = {}, 0
    for which, row, cards in zip(order.pods, placements.nodes, placements.cards, strict=True):
        arrived += study.requests[which].gpu_milli
        if row != REJECTED:
            nodes.place(study.requests[which], row=row, cards=cards)
        fragmented = fragmentation_milli(nodes, workload=study.workload).sum()
        load = round(arrived * 100.0 / capacity_milli)
        by_load.setdefault(load, []).append(fragmented * 100.0 / capacity_milli)
    for load, values in by_load.items():
        assert curves.fragmented[load] == pytest.approx(np.mean(values))


def test_usage_follows_each_node():
    nodes = make_nodes(1, 4, 0)
    pods, arrivals = [CARD, HALF], np.array([0, 1, 1, 0])
    placements = run(pods, nodes, arrivals=arrivals)

    usage = node_usage(placements, pods=pods, arrivals=arrivals, nodes=nodes)

    assert usage.shape == (131, 3)
    assert np.isnan(usage[:, 2]).all()
    assert usage[130, :2].tolist() == [1.0, 0.5]
    assert usage[0, :2].tolist() == [0.0, 0.0]


def openb_pod(name, n_cards, card_milli):
    return OpenbPod(name, 1000, 0, n_cards, card_milli, "", "", "", None, None, None)


def test_orders_are_tuned_up_with_copies():
    pods = [openb_pod(f"p{i}", 1, 500) for i in range(10)] + [openb_pod("c", 0, 0)]

    order = draw_order(pods, n_nodes=5, capacity_milli=10_000, chance=np.random.default_rng(0))

    assert sorted(order.pods[:11].tolist()) == list(range(11))
    assert sum(pods[row].card_milli for row in order.pods) == 13_000
    assert sorted(order.node_ranks.tolist()) == list(range(5))


def test_orders_are_tuned_down_by_leaving_out():
    pods = [openb_pod(f"p{i}", 2, 1000) for i in range(10)]

    order = draw_order(pods, n_nodes=5, capacity_milli=10_000, chance=np.random.default_rng(0))

    assert len(order.pods) == len(set(order.pods.tolist())) == 6
