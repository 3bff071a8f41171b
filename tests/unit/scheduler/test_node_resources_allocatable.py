"""NodeResourcesAllocatable: the numbers of its formula, and its laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.quantity import CPU, MEMORY
from scheduler.framework.checks import check_score_plugin
from scheduler.framework.cycle import CycleState
from scheduler.model import MAX_AMOUNT
from scheduler.plugins.node_resources_allocatable import (
    AllocatableResource,
    NodeResourcesAllocatable,
    NodeResourcesAllocatableArgs,
)
from tests.unit.scheduler.worlds import GI, make_facts, make_pending, make_snapshot

MI = 2**20


def plugin_for(mode="Least", **weights):
    resources = tuple(AllocatableResource(name=n, weight=w) for n, w in weights.items())
    more = {"resources": resources} if resources else {}
    return NodeResourcesAllocatable(NodeResourcesAllocatableArgs(mode=mode, **more))


def raw(plugin, *nodes):
    snapshot = make_snapshot(*nodes)
    return plugin.score(CycleState(), pod=make_pending(), snapshot=snapshot)


@pytest.mark.parametrize("mode", ["Least", "Most"])
def test_keeps_the_contract_of_a_score_plugin(mode):
    check_score_plugin(plugin_for(mode))


def test_a_millicore_weighs_as_much_as_a_mebibyte():
    [score] = raw(plugin_for("Most"), make_facts(cpu_milli=4000, memory_bytes=8 * GI))

    assert score == (4000 * MI + 8 * GI) // (MI + 1)


def test_a_negative_mean_is_cut_toward_zero():
    [score] = raw(plugin_for(cpu=2, memory=1), make_facts(cpu_milli=1, memory_bytes=2))

    assert score == -1  # of −4/3


@pytest.mark.parametrize(("mode", "scores"), [("Least", [100, 66, 0]), ("Most", [0, 33, 100])])
def test_scores_are_stretched_over_the_nodes(mode, scores):
    plugin = plugin_for(mode, cpu=1)
    nodes = [make_facts(f"n{milli}", cpu_milli=milli) for milli in (1000, 2000, 4000)]

    assert plugin.normalize(raw(plugin, *nodes)).tolist() == scores


def test_what_is_alike_gets_nothing():
    plugin = plugin_for()

    assert plugin.normalize(raw(plugin, make_facts("a"), make_facts("b"))).tolist() == [0, 0]
    assert plugin.normalize(np.zeros(0, dtype=np.int64)).tolist() == []


amount = st.integers(0, MAX_AMOUNT)


@given(nodes=st.lists(st.tuples(amount, amount), min_size=1, max_size=6))
def test_the_smallest_wins_and_no_amount_is_too_large(nodes):
    plugin = plugin_for(cpu=2**32, memory=1)
    facts = [
        make_facts(f"n{i}", cpu_milli=min(cpu, 2**28), memory_bytes=memory)
        for i, (cpu, memory) in enumerate(nodes)
    ]

    scores = plugin.normalize(raw(plugin, *facts))

    weights = [f.allocatable[CPU] * 2**32 + f.allocatable[MEMORY] for f in facts]
    assert ((scores >= 0) & (scores <= 100)).all()
    assert scores[weights.index(min(weights))] == scores.max()
