"""CrossNodePreemption: victims on any nodes, as few and as unimportant as will do."""

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.objects import LabelSelector, PodDisruptionBudget
from kube.selectors import labels_query
from scheduler.engine import Engine, EngineSettings
from scheduler.events import Evict, NodeSeen, PodSeen
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import FailedSearch, PluginArgs
from scheduler.framework.nominations import Nominations
from scheduler.framework.runtime import FilterRun
from scheduler.model import AffinityTerm, PodTerm
from scheduler.plugins import cross_node_preemption
from scheduler.plugins.cross_node_preemption import CrossNodePreemption
from scheduler.plugins.default_preemption import DefaultPreemption, DefaultPreemptionArgs
from tests.builders import make_meta
from tests.unit.scheduler.worlds import (
    feed,
    make_facts,
    make_pending,
    make_profile,
    make_snapshot,
)

PLUGIN = CrossNodePreemption(PluginArgs())
RIVAL = AffinityTerm("zone", PodTerm(labels_query({"app": "rival"}), frozenset(("default",))))


def placed(name, node, **more):
    return make_pending(name, node_name=node, **{"cpu_milli": 100, **more})


def rival(name, node, **more):
    return placed(name, node, labels={"app": "rival"}, **more)


def make_search(pod, snapshot, nominations=None):
    nominations = nominations or Nominations()
    run = FilterRun(
        make_profile(), state=CycleState(), pod=pod, snapshot=snapshot, nominations=nominations
    )
    return FailedSearch(
        snapshot=snapshot,
        found=run.run(),
        refilter=run.refilter,
        afresh=run.afresh,
        nominations=nominations,
        now_s=0.0,
    )


def preempt(pod, *pods, nodes=("n1", "n2"), plugin=PLUGIN, nominations=None):
    """Give the node and the victims; the nodes are one zone."""
    facts = [make_facts(name, labels={"zone": "a", "name": name}) for name in nodes]
    snapshot = make_snapshot(*facts, pods=[(each, each.node_name) for each in pods])
    before = [snapshot.node(name) for name in nodes]
    result = plugin.post_filter(
        CycleState(), pod=pod, search=make_search(pod, snapshot, nominations)
    )
    assert [snapshot.node(name) for name in nodes] == before
    return result.node, [victim.name for victim in result.victims]


def alone(**more):
    """A pod that wants no rival in its zone, and only fits on n2."""
    return make_pending(
        "new",
        **{
            "priority": 10,
            "pod_anti_affinity": (RIVAL,),
            "node_selector": {"name": "n2"},
            **more,
        },
    )


def test_evicts_on_another_node_what_default_preemption_cannot():
    pods = [rival("r", "n1"), placed("bystander", "n2")]
    default = DefaultPreemption(DefaultPreemptionArgs())

    assert preempt(alone(), *pods, plugin=default) == ("", [])
    assert preempt(alone(), *pods) == ("n2", ["r"])


def test_evicts_on_several_nodes_at_once():
    pods = [rival("r1", "n1", priority=3), rival("r2", "n2", priority=5), placed("b", "n1")]

    assert preempt(alone(), *pods) == ("n2", ["r2", "r1"])


@pytest.mark.parametrize("n_others", [0, 20])
def test_of_those_who_would_do_the_least_important_go(n_others):
    pods = [placed(f"low-{i}", "n1", cpu_milli=1000, priority=i) for i in range(4)]
    pods += [placed(f"mid-{i}", "n2", cpu_milli=1000, priority=5 + i) for i in range(3)]
    pods += [placed(f"tiny-{i}", "n2", cpu_milli=1) for i in range(n_others)]
    pod = make_pending("new", cpu_milli=2000, priority=10)

    assert preempt(pod, *pods) == ("n1", ["low-1", "low-0"])


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(alone(may_preempt=False), id="may not"),
        pytest.param(alone(priority=0), id="outranks nobody"),
        pytest.param(alone(cpu_milli=99_000), id="fits on no empty node"),
    ],
)
def test_evicts_nobody_where_that_is_not_allowed_or_no_help(pod):
    assert preempt(pod, rival("r", "n1"))[1] == []


def test_a_promise_that_nobody_could_keep_ends():
    nominations, pod = Nominations(), alone(node_selector={"no": "node"})
    nominations.put(pod, node="n2")

    assert preempt(pod, rival("r", "n1"), nominations=nominations) == ("", [])


def test_waits_for_those_who_are_on_their_way():
    nominations, pod = Nominations(), alone()
    nominations.put(pod, node="n2")
    pods = [rival("r1", "n1", is_terminating=True, is_preempted=True), rival("r2", "n1")]

    assert preempt(pod, *pods, nominations=nominations) == (None, [])


def test_a_gang_goes_whole_or_not_at_all():
    gang = [rival(f"g{i}", "n1", pod_group="g", priority=i) for i in range(2)]
    kept = [rival("k0", "n1", pod_group="k"), rival("k1", "n1", pod_group="k", priority=11)]

    assert preempt(alone(), *gang) == ("n2", ["g1", "g0"])
    assert preempt(alone(), *kept)[1] == []


@pytest.mark.parametrize("n_others", [0, 8])
def test_who_is_protected_by_a_budget_goes_last(n_others):
    pods = [placed("safe", "n1", cpu_milli=4000, labels={"app": "safe"})]
    pods += [placed("dear", "n2", cpu_milli=4000 - n_others, priority=9)]
    pods += [placed(f"tiny-{i}", "n2", cpu_milli=1) for i in range(n_others)]
    snapshot = make_snapshot(
        make_facts("n1"), make_facts("n2"), pods=[(each, each.node_name) for each in pods]
    )
    budget = PodDisruptionBudget(metadata=make_meta("b", namespace="default"))
    spec = type(budget.spec)(selector=LabelSelector(match_labels={"app": "safe"}))
    snapshot.objects.put(type(budget)(metadata=budget.metadata, spec=spec))
    pod = make_pending("new", cpu_milli=1000, priority=10)

    result = PLUGIN.post_filter(CycleState(), pod=pod, search=make_search(pod, snapshot))

    assert [victim.name for victim in result.victims] == ["dear"]


def test_gives_up_after_so_many_trials(monkeypatch):
    monkeypatch.setattr(cross_node_preemption, "_MAX_TRIALS", 3)
    pods = [rival(f"r{i}", "n1") for i in range(9)]

    assert preempt(alone(), *pods) == ("", [])


def test_of_very_many_only_the_least_important_are_looked_at(monkeypatch):
    monkeypatch.setattr(cross_node_preemption, "_MAX_PODS", 2)
    pods = [rival("r", "n1", priority=9), placed("a", "n1"), placed("b", "n2")]

    assert preempt(alone(), *pods)[1] == []
    assert preempt(alone(), *pods[:2])[1] == ["r"]


amounts = st.lists(
    st.tuples(
        st.integers(1, 2), st.sampled_from([500, 1000, 2000]), st.integers(0, 12), st.booleans()
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=40, deadline=None)
@given(amounts=amounts, asked=st.sampled_from([1000, 3000]))
def test_victims_rank_lower_and_none_of_them_could_stay(amounts, asked):
    pods = [
        placed(
            f"p{i}",
            f"n{node}",
            cpu_milli=cpu,
            priority=priority,
            labels={"app": "rival"} if r else {},
        )
        for i, (node, cpu, priority, r) in enumerate(amounts)
    ]
    pod = alone(cpu_milli=asked, node_selector={})

    def fits_without(names):
        left = [(each, each.node_name) for each in pods if each.name not in names]
        facts = [make_facts(name, labels={"zone": "a"}) for name in ("n1", "n2")]
        return make_search(pod, make_snapshot(*facts, pods=left)).found.feasible.any()

    if fits_without(()):
        return
    _, victims = preempt(pod, *pods)

    outranked = {each.name for each in pods if each.priority < pod.priority}
    assert set(victims) <= outranked
    assert bool(victims) == fits_without(outranked)
    if victims:
        assert fits_without(victims)
        assert not any(fits_without([v for v in victims if v != spared]) for spared in victims)


@settings(max_examples=30, deadline=None)
@given(amounts=amounts.map(lambda found: found[:5]), asked=st.sampled_from([1000, 3000]))
def test_of_few_pods_no_others_would_cost_less(amounts, asked):
    pods = [
        placed(
            f"p{i}",
            f"n{node}",
            cpu_milli=2 * cpu,
            priority=priority,
            labels={"app": "rival"} if is_rival else {},
        )
        for i, (node, cpu, priority, is_rival) in enumerate(amounts)
    ]
    pod = alone(cpu_milli=asked, node_selector={})
    outranked = [each for each in pods if each.priority < pod.priority]

    def fits_without(victims):
        left = [(each, each.node_name) for each in pods if each not in victims]
        facts = [make_facts(name, labels={"zone": "a"}) for name in ("n1", "n2")]
        return make_search(pod, make_snapshot(*facts, pods=left)).found.feasible.any()

    def cost(victims):
        """Upstream's criteria that tell these apart: no budgets, and nobody has started."""
        priorities = [victim.priority for victim in victims]
        return max(priorities), sum(p + 2**31 for p in priorities), len(priorities)

    _, names = preempt(pod, *pods)

    subsets = [s for n in range(1, len(pods) + 1) for s in combinations(outranked, n)]
    fitting = [cost(victims) for victims in subsets if fits_without(victims)]
    chosen = [each for each in pods if each.name in names]
    if fits_without(()):
        return
    assert bool(chosen) == bool(fitting)
    assert not chosen or cost(chosen) == min(fitting)


def test_the_engine_evicts_on_all_of_the_nodes():
    profile = replace(make_profile(), post_filter=(PLUGIN,))
    engine = Engine({"ai-scheduler": profile}, settings=EngineSettings())
    nodes = [make_facts(name, labels={"zone": "a", "name": name}) for name in ("n1", "n2")]
    feed(engine, [NodeSeen(node) for node in nodes])
    feed(engine, [PodSeen(rival("r1", "n1")), PodSeen(rival("r2", "n2"))])

    actions = feed(engine, [PodSeen(alone())])

    assert {each.victim.name for each in actions if isinstance(each, Evict)} == {"r1", "r2"}
