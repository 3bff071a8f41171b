"""Policies run through a scenario, each from the same past."""

import copy
from pathlib import Path

import msgspec
import pytest

from kube.edge.settings import Duration, Interval
from scheduler.errors import ConfigError
from scheduler.simulator.experiments.observer import Observer
from scheduler.simulator.experiments.policies import policy_of
from scheduler.simulator.experiments.run import Run, run_seed
from scheduler.simulator.experiments.scenario import Observation
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.hardware import NodeNature
from scheduler.simulator.natures import Nature
from scheduler.simulator.resources import PODS
from tests.unit.simulator.experiments.worlds import (
    HOUR_S,
    make_group,
    make_job,
    make_run,
    make_scenario,
    make_service,
    make_site,
)

LOAD_AWARE = Path(__file__).parents[4] / "config" / "profiles" / "load-aware.yaml"
CRASHING = NodeNature(container_crash_per_hour=20.0)
HEALTHY = Nature(crash_per_hour=0.0)
MEASURED_S = HOUR_S


def flaky(*, warm_up_s=HOUR_S, measured_s=MEASURED_S):
    """Nodes of which some crash whatever runs there, and work that comes all the time."""
    job = make_job(
        kinds=4,
        per_hour=120.0,
        run_s=400.0,
        cpu_request_milli=200.0,
        memory_request_mib=128.0,
        nature=HEALTHY,
    )
    return make_scenario(
        make_group("good", count=4),
        make_group("crashing", count=2, nature=CRASHING),
        jobs=(job,),
        warm_up_s=warm_up_s,
        measured_s=measured_s,
        observation=Observation(
            collection_interval=Interval(30.0),
            window=Interval(300.0),
            retrain_every=Interval(2 * HOUR_S),
        ),
    )


def unhurried(result):
    return msgspec.structs.replace(result, cpu_s=0.0)


def count_placements(site, *, on):
    """Count, from now on, the pods bound to some nodes, and all."""
    counts = {"there": 0, "all": 0}

    def note(change):
        node = change.new["spec"].get("nodeName")
        had = change.old is not None and change.old["spec"].get("nodeName")
        if node and not had:
            counts["all"] += 1
            counts["there"] += node in on

    site.store.on_change(note, of=(PODS,))
    return counts


@pytest.fixture(scope="module")
def compared():
    """Results of the baseline and a learning policy, and what share they put on bad nodes."""
    scenario = flaky()
    site = Site(scenario, seed=6)
    bad = {n for n, s in site.cluster.node_specs.items() if s.traits.container_crash_per_hour}
    observer = Observer(scenario.observation, start_s=site.start_s)
    Run(site, observer=observer, policy=policy_of("kube-default")).advance(site.measured_from_s)
    results, shares = {}, {}
    for name in ("kube-default", "ai"):
        twin = site.copy()
        counts = count_placements(twin, on=bad)
        run = Run(twin, observer=copy.deepcopy(observer), policy=policy_of(name))
        results[name] = run.measure(twin.end_s)
        shares[name] = counts["there"] / counts["all"]
    return results, shares


def test_the_same_seed_gives_the_same_results_whatever_else_is_compared(compared):
    results, _ = compared
    [again] = run_seed(flaky(), seed=6, policies=["ai"])

    assert unhurried(again) == unhurried(results["ai"])


def test_all_policies_meet_the_same_work_for_the_time_that_is_measured(compared):
    default, ai = compared[0].values()

    assert default.measured_h == ai.measured_h == MEASURED_S / HOUR_S
    assert default.n_placements == pytest.approx(ai.n_placements, abs=3)
    assert default.n_placements > 100
    assert default.cpu_s > 0.0


def test_one_that_learns_places_fewer_pods_where_containers_crash(compared):
    _, shares = compared

    assert shares["kube-default"] > 0.2
    assert shares["ai"] < 0.6 * shares["kube-default"]


def test_so_fewer_of_its_pods_fail(compared):
    default, ai = compared[0].values()

    assert default.failed_by_cause.keys() == {"crashed"}
    assert default.n_failed_placements > 15
    assert ai.n_failed_placements < 0.7 * default.n_failed_placements


def test_how_right_the_model_was_is_told_of_one_that_has_a_model(compared):
    default, ai = compared[0].values()

    assert (default.model, default.trainings) == (None, {})
    assert ai.trainings["activated"] >= 1
    assert ai.model.n_rows > 50
    assert ai.model.brier < ai.model.base_rate_brier


def test_policies_begin_where_the_same_warm_up_ended():
    scenario = flaky(warm_up_s=600.0, measured_s=1200.0)
    once, again = run_seed(scenario, seed=1, policies=["ai-untrained", "ai-untrained"])

    assert once.n_placements > 30
    assert unhurried(once) == unhurried(again)


def test_results_come_one_by_one_and_an_unknown_policy_before_any():
    with pytest.raises(ConfigError, match="'best' is no policy"):
        next(iter(run_seed(flaky(), seed=1, policies=["kube-default", "best"])))


def test_without_a_warm_up_measuring_begins_at_once():
    site = make_site(services=(make_service(kinds=1, replicas=3.0, nature=HEALTHY),))
    result = make_run(site).measure(site.end_s)

    assert (result.n_placements, result.n_failed_placements, result.n_never_bound) == (3, 0, 0)
    assert (result.measured_h, result.n_nodes, result.idle_nodes) == (1.0, 3, 0.0)
    assert result.pending_p99_s < 60.0


def test_what_fits_nowhere_is_waited_for_to_the_end():
    huge = make_service(kinds=1, replicas=2.0, cpu_request_milli=3000.0, nature=HEALTHY)
    site = make_site(make_group(count=1), services=(huge,), measured_s=900.0)
    result = make_run(site).measure(site.end_s)

    assert (result.n_placements, result.n_never_bound) == (1, 1)
    assert result.pending_p99_s == pytest.approx(900.0, rel=0.02)


def test_time_goes_to_the_end_exactly_and_never_back():
    scenario = make_scenario(jobs=(make_job(per_hour=600.0, run_s=10.0),), measured_s=123.4)
    site = Site(scenario, seed=1)
    times = []
    site.store.on_change(lambda _: times.append(site.now_s))
    make_run(site).advance(site.end_s)

    assert site.now_s == site.end_s
    assert times == sorted(times)


def test_pods_are_bound_in_the_instant_in_which_they_arrive():
    job = make_job(per_hour=300.0)
    site = make_site(jobs=(job,), keep_ended_pods=Duration(60.0), measured_s=1200.0)
    result = make_run(site).measure(site.end_s)

    assert result.n_placements > 50
    assert result.pending_p50_s == 0.0


def test_a_policy_that_goes_by_load_is_told_mean_and_deviation_as_by_a_collector():
    site = Site(flaky(), seed=6)
    run = make_run(site, policy=str(LOAD_AWARE))

    run.advance(site.now_s + 1200.0)

    snapshot = run._shell._engine.snapshot
    assert snapshot.is_measured.all()
    assert (snapshot.usage_std["cpu"] > 0).all()
    assert (snapshot.usage_mean["cpu"] != snapshot.usage["cpu"]).any()
