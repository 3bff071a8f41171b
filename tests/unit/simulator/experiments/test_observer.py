"""The collector's eyes and memory within an experiment."""

import copy

import pytest

from kube.edge.settings import Interval
from scheduler.simulator.experiments.observer import Observer
from scheduler.simulator.experiments.policies import policy_of
from scheduler.simulator.experiments.run import Run
from scheduler.simulator.experiments.scenario import Observation
from scheduler.simulator.hardware import NodeNature
from scheduler.simulator.natures import Nature
from tests.unit.simulator.experiments.worlds import (
    HOUR_S,
    make_group,
    make_job,
    make_service,
    make_site,
)

OBSERVATION = Observation(collection_interval=Interval(30.0), window=Interval(300.0))


def watched(*groups, for_s=1800.0, **fields):
    """A site and its observer after some time."""
    site = make_site(*groups, observation=OBSERVATION, **fields)
    observer = Observer(OBSERVATION, start_s=site.start_s)
    run = Run(site, observer=observer, policy=policy_of("kube-default"))
    run.advance(site.start_s + for_s)
    return site, observer, run


@pytest.fixture(scope="module")
def seen():
    """Half an hour of healthy work."""
    calm = Nature(crash_per_hour=0.0, cpu_ratio=0.5, memory_ratio=0.5)
    jobs = (make_job(run_s=100.0, nature=calm),)
    return watched(services=(make_service(nature=calm),), jobs=jobs)


def test_it_tells_nodes_as_they_are_with_samples_as_old_as_a_look(seen):
    site, observer, _ = seen
    snapshot = observer.snapshot(now_s=site.now_s)

    assert [node.name for node in snapshot.nodes] == ["n1", "n2", "n3"]
    assert all(node.is_ready and node.is_schedulable for node in snapshot.nodes)
    for node in snapshot.nodes:
        assert node.usage_cpu_milli > 0
        assert site.now_s - 90.0 <= node.sampled_at_s <= site.now_s


def test_it_tells_what_workloads_usually_use(seen):
    site, observer, _ = seen
    workloads = {w.key: w for w in observer.snapshot(now_s=site.now_s).workloads}
    [web] = [w for w in workloads.values() if w.name.startswith("web-1")]

    assert web.usual_cpu_milli == pytest.approx(125, rel=0.3)
    assert web.usual_memory_bytes == pytest.approx(2**28, rel=0.1)
    assert {"default/Job/batch-1", "default/Job/batch-2"} <= workloads.keys()


def test_each_placement_is_kept_with_the_state_before_it_and_its_outcome(seen):
    site, observer, _ = seen
    placements = list(observer.placements.values())
    old = [p for p in placements if p.placed_at_s < site.now_s - 600.0]

    assert len(old) > 10
    assert all(p.outcome is not None and p.outcome.success for p in old)
    assert all(p.outcome.reason == "healthy" for p in old)
    assert [p.placed_at_s for p in placements] == sorted(p.placed_at_s for p in placements)
    assert all(p.state.node.name == p.node for p in placements)
    first = placements[0]
    assert (first.state.node.n_pods, first.state.node.requested_cpu_milli) == (0, 0)


def test_failures_count_against_their_node():
    crashing = NodeNature(container_crash_per_hour=60.0)
    site, observer, _ = watched(
        make_group("good", count=1),
        make_group("bad", count=1, nature=crashing),
        jobs=(make_job(per_hour=200.0, run_s=250.0, nature=Nature(crash_per_hour=0.0)),),
        for_s=HOUR_S,
    )
    [bad] = [n for n, s in site.cluster.node_specs.items() if s.traits.container_crash_per_hour]
    rates = {n.name: n.failure_rate for n in observer.snapshot(now_s=site.now_s).nodes}
    [good_rate] = [rate for name, rate in rates.items() if name != bad]
    failed = [p for p in observer.placements.values() if p.outcome and not p.outcome.success]

    assert rates[bad] > 0.5
    assert good_rate < 0.2
    assert {p.node for p in failed} == {bad}


def test_a_snapshot_is_made_anew_only_when_something_has_changed(seen):
    site, observer, _ = seen
    observer = copy.deepcopy(observer)
    first = observer.snapshot(now_s=site.now_s)

    assert observer.snapshot(now_s=site.now_s + 1.0) is first
    observer.look(site.client)
    assert observer.snapshot(now_s=site.now_s + 1.0).version > first.version


def test_it_looks_as_often_as_it_is_told(seen):
    site, observer, _ = seen

    assert observer.next_look_s == site.now_s + 30.0


def test_a_copy_remembers_for_itself(seen):
    site, observer, _ = seen
    twin = copy.deepcopy(observer)
    before = dict(observer.placements)
    twin.placements.clear()
    twin.look(site.client)

    assert observer.placements == before
    assert observer.next_look_s == site.now_s + 30.0


def test_placements_of_more_than_a_week_ago_are_forgotten(seen):
    site, observer, _ = seen
    site, observer = site.copy(), copy.deepcopy(observer)
    last_s = max(p.placed_at_s for p in observer.placements.values())
    site.clock.at_s = last_s + 7 * 24 * HOUR_S - 60.0
    observer.look(site.client)
    kept = len(observer.placements)
    site.clock.at_s = last_s + 7 * 24 * HOUR_S + 60.0
    observer.look(site.client)

    assert kept >= 1
    assert observer.placements == {}
