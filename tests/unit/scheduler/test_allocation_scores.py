"""NodeResourcesFit's strategies and NodeResourcesBalancedAllocation, by upstream's formulas."""

import msgspec
import pytest

from scheduler.framework.cycle import CycleState
from scheduler.plugins.balanced_allocation import (
    BalancedResource,
    NodeResourcesBalancedAllocation,
    NodeResourcesBalancedAllocationArgs,
)
from scheduler.plugins.node_resources import NodeResourcesFit, NodeResourcesFitArgs
from scheduler.plugins.scoring_strategies import (
    RequestedToCapacityRatio,
    ResourceSpec,
    ScoringStrategy,
    UtilizationShapePoint,
)
from tests.unit.scheduler.worlds import GI, make_facts, make_pending, make_snapshot


def rate(plugin, *, used=(0, 0), asked=(500, GI), node=None, **pod):
    """Score a node of 4 cores and 32 GiB on which *used* is taken."""
    node = node or make_facts(memory_bytes=32 * GI)
    busy = make_pending("busy", cpu_milli=used[0], memory_bytes=used[1])
    incoming = make_pending(cpu_milli=asked[0], memory_bytes=asked[1], **pod)
    snapshot = make_snapshot(node, pods=[(busy, node.name)])
    [score] = plugin.score(CycleState(), pod=incoming, snapshot=snapshot).tolist()
    return score


def fit(kind, *, shape=(), **resources):
    """Make the plugin with a strategy; resources with their weights."""
    points = tuple(UtilizationShapePoint(utilization=u, score=s) for u, s in shape)
    specs = tuple(ResourceSpec(name=name, weight=w) for name, w in resources.items())
    strategy = ScoringStrategy(
        type=kind,
        resources=specs or ScoringStrategy().resources,
        requested_to_capacity_ratio=RequestedToCapacityRatio(shape=points) if points else None,
    )
    return NodeResourcesFit(NodeResourcesFitArgs(scoring_strategy=strategy))


def balanced(*, formula="v1.36", resources=("cpu", "memory")):
    specs = tuple(BalancedResource(name=name) for name in resources)
    args = NodeResourcesBalancedAllocationArgs(resources=specs, formula=formula)
    return NodeResourcesBalancedAllocation(args)


@pytest.mark.parametrize(("kind", "expected"), [("LeastAllocated", 73), ("MostAllocated", 26)])
def test_allocation_follows_upstreams_example(kind, expected):
    assert rate(fit(kind), used=(1000, 4 * GI)) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [pytest.param("LeastAllocated", 25, id="least"), pytest.param("MostAllocated", 74, id="most")],
)
def test_the_mean_is_weighted(kind, expected):
    # Three quarters of the cpu are used, and half of the memory.
    plugin = fit(kind, cpu=100, memory=1)

    assert rate(plugin, asked=(3000, 16 * GI)) == expected


@pytest.mark.parametrize(
    ("kind", "expected"), [pytest.param("LeastAllocated", 0), pytest.param("MostAllocated", 100)]
)
def test_more_than_all_counts_as_all(kind, expected):
    assert rate(fit(kind), used=(9000, 64 * GI)) == expected


@pytest.mark.parametrize("kind", ["LeastAllocated", "MostAllocated"])
def test_a_resource_that_the_node_lacks_does_not_count(kind):
    node = make_facts(cpu_milli=4000, memory_bytes=0)

    assert rate(fit(kind), node=node, asked=(2000, GI)) == 50


def test_an_extended_resource_counts_for_pods_that_ask_for_it():
    plugin = fit("MostAllocated", **{"a.b/c": 1})
    node = make_facts(allocatable={"a.b/c": 4})

    assert rate(plugin, node=node, requests={"a.b/c": 1}) == 25
    assert rate(plugin, node=node) == 0


PACK = ((0, 0), (100, 10))
SPREAD = ((0, 10), (100, 0))
STEEP = ((0, 10), (7, 0))


@pytest.mark.parametrize(
    ("shape", "cpu_percent", "expected"),
    [
        pytest.param(PACK, 25, 25, id="packs"),
        pytest.param(SPREAD, 25, 75, id="spreads"),
        pytest.param(STEEP, 3, 58, id="down, truncated toward zero"),
        pytest.param(STEEP, 7, 0, id="on a point"),
        pytest.param(STEEP, 8, 0, id="flat beyond the last"),
        pytest.param(((50, 4), (60, 10)), 10, 40, id="flat before the first"),
        pytest.param(((30, 7),), 90, 70, id="one point"),
        pytest.param(PACK, 200, 100, id="more than there is"),
    ],
)
def test_a_shape_says_what_a_utilization_is_worth(shape, cpu_percent, expected):
    plugin = fit("RequestedToCapacityRatio", shape=shape, cpu=1)

    assert rate(plugin, asked=(40 * cpu_percent, GI)) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        # (25 * 1 + 50 * 2) / 3 is 41.67.
        pytest.param((1000, 16 * GI), 42, id="rounded"),
        pytest.param((0, 16 * GI), 50, id="what is worth nothing does not count"),
        pytest.param((0, 0), 0, id="nothing is worth anything"),
    ],
)
def test_the_shapes_mean_is_rounded(asked, expected):
    plugin = fit("RequestedToCapacityRatio", shape=PACK, cpu=1, memory=2)

    assert rate(plugin, asked=asked) == expected


@pytest.mark.parametrize(
    ("formula", "used", "asked", "expected"),
    [
        pytest.param("v1.36", (1000, 4 * GI), (500, GI), 73, id="balance worsens a little"),
        pytest.param("v1.35", (1000, 4 * GI), (500, GI), 89, id="and was rated itself"),
        pytest.param("v1.36", (3000, 4 * GI), (0, 16 * GI), 87, id="balance improves"),
        pytest.param("v1.35", (3000, 4 * GI), (0, 16 * GI), 93, id="and was rated itself, too"),
    ],
)
def test_balance_follows_upstreams_examples(formula, used, asked, expected):
    assert rate(balanced(formula=formula), used=used, asked=asked) == expected


def test_balance_over_three_resources_takes_the_deviation_of_all():
    node = make_facts(allocatable={"example.com/gpu": 4})
    plugin = balanced(resources=("cpu", "memory", "example.com/gpu"))

    score = rate(plugin, node=node, asked=(4000, 0), requests={"example.com/gpu": 4})

    assert score == 50 + (50 + 52 - 100) // 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param('{"type": "Random"}', "Invalid enum value", id="unknown strategy"),
        pytest.param('{"type": "RequestedToCapacityRatio"}', "needs requested", id="no shape"),
        pytest.param(
            '{"requestedToCapacityRatio": {"shape": [{"utilization": 5, "score": 1},'
            ' {"utilization": 5, "score": 2}]}}',
            "must grow",
            id="two scores for one utilization",
        ),
        pytest.param(
            '{"requestedToCapacityRatio": {"shape": [{"utilization": 5, "score": 11}]}}',
            "<= 10",
            id="a score above 10",
        ),
        pytest.param('{"resources": [{"name": "cpu", "weight": 101}]}', "<= 100", id="weight"),
    ],
)
def test_a_strategy_that_makes_no_sense_is_refused(text, words):
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.json.decode(text, type=ScoringStrategy)


def test_a_weight_of_0_takes_the_default_as_upstream():
    strategy = msgspec.json.decode(
        '{"resources": [{"name": "cpu", "weight": 0}]}', type=ScoringStrategy
    )
    plugin = NodeResourcesFit(NodeResourcesFitArgs(scoring_strategy=strategy))

    assert rate(plugin, asked=(1000, 0)) == 75
