"""What a run costs by its scenario's reward."""

import pytest

from scheduler.simulator.experiments.rewards import TERMS, RewardWeights
from scheduler.simulator.hardware import NodeNature
from tests.unit.simulator.experiments.worlds import (
    HOUR_S,
    make_group,
    make_job,
    make_run,
    make_service,
    make_site,
)

TOO_LARGE = 64_000.0
STEADY = {"services": (make_service(kinds=1, replicas=1.0),)}


def cost_of(*groups, hours=1.0, policy="kube-default", **fields):
    site = make_site(*groups, measured_s=hours * HOUR_S, **fields)
    return make_run(site, policy=policy).measure(site.end_s)


def test_a_pod_that_fits_nowhere_costs_for_every_hour_that_it_waits():
    hopeless = make_service(kinds=1, replicas=2.0, cpu_request_milli=TOO_LARGE)

    found = cost_of(hours=3.0, services=(hopeless,))

    assert found.cost_terms["pending"] == pytest.approx(2 * 3.0)
    assert found.cost_terms["nodes_on"] == 0.0
    assert found.cost == pytest.approx(6.0)


def test_a_node_costs_for_every_hour_with_a_pod():
    found = cost_of(hours=2.0, **STEADY, reward=RewardWeights(nodes_on=10.0))

    assert found.cost_terms["nodes_on"] == pytest.approx(2.0)
    assert found.cost == pytest.approx(20.0, abs=0.5)


def test_each_bad_end_costs():
    crashing = NodeNature(container_crash_per_hour=30.0)

    found = cost_of(make_group(nature=crashing), **STEADY)

    assert found.cost_terms["failures"] > 3


def test_free_cpu_costs_as_far_as_the_usual_pods_cannot_use_it():
    services = (
        make_service("fits", kinds=1, replicas=1.0, cpu_request_milli=1.0),
        make_service("too-large", kinds=1, replicas=3.0, cpu_request_milli=TOO_LARGE),
    )
    weights = RewardWeights(pending=0.0, fragmentation=1.0)

    found = cost_of(make_group(count=4), services=services, reward=weights)

    # Three of four pods could use nothing of the four idle nodes.
    assert found.cost_terms["fragmentation"] == pytest.approx(4 * 0.75, rel=0.01)


def test_what_was_before_the_measured_time_costs_nothing():
    hopeless = make_service(kinds=1, replicas=1.0, cpu_request_milli=TOO_LARGE)
    site = make_site(warm_up_s=2 * HOUR_S, measured_s=HOUR_S, services=(hopeless,))
    run = make_run(site)
    run.advance(site.measured_from_s)

    found = run.measure(site.end_s)

    assert found.cost_terms["pending"] == pytest.approx(1.0)


def test_terms_without_weight_are_told_and_cost_nothing():
    job = make_job(per_hour=600.0, cpu_request_milli=2000.0, run_s=600.0)

    found = cost_of(jobs=(job,), reward=RewardWeights(pending=0.0))

    assert set(found.cost_terms) == set(TERMS)
    assert found.cost_terms["pending"] > 1.0
    assert found.cost < found.cost_terms["pending"]
