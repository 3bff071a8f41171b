"""What is kept beside promises, and of searches for victims, is what would be found now."""

from dataclasses import replace

import pytest

from kube.objects import (
    LabelSelector,
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    PodDisruptionBudgetStatus,
)
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import FailedSearch
from scheduler.framework.nominations import Nominations
from scheduler.framework.runtime import FilterRun
from scheduler.framework.standing import Standings
from scheduler.model import HostPort
from scheduler.plugins.default_preemption import DefaultPreemption, DefaultPreemptionArgs
from tests.builders import make_meta
from tests.unit.scheduler.test_standing import RandomWorld
from tests.unit.scheduler.worlds import GI, make_pending, make_profile, make_snapshot

KINDS = (
    make_pending(cpu_milli=3000),
    make_pending(cpu_milli=3000, memory_bytes=5 * GI, priority=5),
    make_pending(cpu_milli=1500, priority=10, labels={"app": "web"}),
    make_pending(cpu_milli=500, priority=10, host_ports=frozenset({HostPort("", "TCP", 80)})),
    make_pending(cpu_milli=2500, priority=20, pod_group="crew"),
    make_pending(cpu_milli=4000, priority=30, node_selector={"zone": "a"}),
)


class CrowdedWorld(RandomWorld):
    """The same, with priorities, promises, budgets and gangs."""

    def __init__(self, seed):
        super().__init__(seed, n_nodes=30)
        self.nominations = Nominations()

    def new_pod(self):
        kind, name = self.rng.choice(KINDS), self.new_name("p")
        return replace(kind, uid=name, name=name, start_time_s=float(self.rng.randrange(3)))

    def place(self):
        pod = replace(self.new_pod(), node_name=self.rng.choice(self.snapshot.names))
        self.snapshot.add_pod(pod, node=pod.node_name)
        self.placed.append(pod)

    def happen(self):
        what = self.rng.choice(("place", "place", "promise", "break", "budget", "else", "else"))
        if what == "place":
            self.place()
        elif what == "promise":
            self.nominations.put(self.new_pod(), node=self.rng.choice(self.snapshot.names))
        elif what == "break":
            self.nominations.remove(self.rng.choice(["", *self.nominated()]))
        elif what == "budget" and self.rng.random() < 0.1:
            self.set_budget()
        else:
            super().happen()

    def nominated(self):
        everywhere = [self.nominations.on_node(name) for name in self.snapshot.names]
        return [pod.uid for pods in everywhere for pod in pods]

    def set_budget(self):
        self.snapshot.objects.put(
            PodDisruptionBudget(
                metadata=make_meta("web", namespace="default"),
                spec=PodDisruptionBudgetSpec(selector=LabelSelector(match_labels={"app": "web"})),
                status=PodDisruptionBudgetStatus(disruptions_allowed=self.rng.randrange(3)),
            )
        )

    def asking(self):
        """A pod to ask about: a new one, or one that was promised room itself."""
        own = [pod for name in self.snapshot.names for pod in self.nominations.on_node(name)]
        return self.rng.choice(own) if own and self.rng.random() < 0.3 else self.new_pod()


def answer(world, profile, pod, *, plugin, standing=None):
    run = FilterRun(
        profile,
        state=CycleState(),
        pod=pod,
        snapshot=world.snapshot,
        nominations=world.nominations,
        standing=standing,
    )
    found = run.run()
    told = {
        "codes": found.codes.tolist(),
        "counts": found.counts(),
        "statuses": found.statuses(world.snapshot.names, limit=1000),
        "rejectors": found.rejectors,
    }
    search = FailedSearch(
        snapshot=world.snapshot,
        found=found,
        refilter=run.refilter,
        afresh=run.afresh,
        nominations=world.nominations,
        now_s=0.0,
        signature=run.signature,
    )
    candidates, why_not = plugin.candidates(pod, search=search)
    victims = [(c.node, [v.uid for v in c.victims], c.n_violations) for c in candidates]
    return told | {"victims": victims, "why not": why_not}


def make_plugin():
    return DefaultPreemption(DefaultPreemptionArgs(min_candidate_nodes_absolute=7))


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_what_is_kept_is_what_would_be_found_now(seed):
    world, profile, plugin = CrowdedWorld(seed), make_profile(), make_plugin()
    standings = Standings(profile)
    for _ in range(60):
        world.place()
    n_with_victims = 0
    for _ in range(100):
        for _ in range(world.rng.choice((0, 1, 1, 1, 2, 10))):
            world.happen()
        pod = world.asking()

        standing = standings.of(pod, snapshot=world.snapshot)

        expected = answer(world, profile, pod, plugin=make_plugin())
        assert answer(world, profile, pod, plugin=plugin, standing=standing) == expected
        n_with_victims += bool(expected["victims"])
    assert n_with_victims > 20


def test_nothing_is_taken_from_one_cluster_to_another():
    profile, plugin, pod = make_profile(), make_plugin(), replace(KINDS[1], uid="u", name="p")
    told = []
    for seed in (1, 2):
        world = CrowdedWorld(seed)
        for _ in range(60):
            world.place()
        standing = Standings(profile).of(pod, snapshot=world.snapshot)
        expected = answer(world, profile, pod, plugin=make_plugin())
        told.append(expected)

        assert answer(world, profile, pod, plugin=plugin, standing=standing) == expected

    assert told[0] != told[1]


def test_promises_to_nodes_that_are_not_there_count_nowhere():
    world, profile, plugin = CrowdedWorld(0), make_profile(), make_plugin()
    world.nominations.put(world.new_pod(), node="n-gone")
    pod = make_pending()
    standing = Standings(profile).of(pod, snapshot=world.snapshot)

    expected = answer(world, profile, pod, plugin=plugin)
    assert answer(world, profile, pod, plugin=plugin, standing=standing) == expected


def test_no_more_is_kept_than_a_few_priorities():
    standing = Standings(make_profile()).of(make_pending(), snapshot=make_snapshot())
    kept = [standing.room(priority) for priority in range(10)]

    assert standing.room(9) is kept[9]
    assert standing.room(0) is not kept[0]
