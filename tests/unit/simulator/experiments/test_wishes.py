"""What is wished for when, whoever asks."""

import pytest

from kube.edge.settings import Interval
from kube.instants import parse_rfc3339
from scheduler.simulator.draws import Distribution
from scheduler.simulator.experiments.wishes import Arrival, Deploy, RollOut, Wishes
from tests.unit.simulator.experiments.worlds import (
    HOUR_S,
    make_job,
    make_scenario,
    make_service,
)

START_S = parse_rfc3339("2026-03-02T00:00:00Z")


def wishes_of(scenario, *, for_s, seed=1):
    """All wishes with their times, asked for as they come."""
    wishes = Wishes(scenario, seed=seed, start_s=START_S)
    found = []
    while wishes.next_at_s <= START_S + for_s:
        at_s = wishes.next_at_s
        found += [(at_s, wish) for wish in wishes.due(at_s)]
    return found


def test_services_are_wished_for_at_once_and_in_new_versions_later():
    service = make_service(kinds=2, replicas=3.0, rollout_every=Interval(HOUR_S))
    found = wishes_of(make_scenario(services=(service,)), for_s=8 * HOUR_S)
    deployed, later = found[:2], found[2:]

    assert [(at_s, wish.member.name, wish.replicas) for at_s, wish in deployed] == [
        (START_S, "web-1", 3),
        (START_S, "web-2", 3),
    ]
    assert all(isinstance(wish, Deploy) for _, wish in deployed)
    assert all(isinstance(wish, RollOut) for _, wish in later)
    versions = [wish.version for _, wish in later if wish.member.name == "web-1"]
    assert versions == list(range(2, len(versions) + 2))
    assert len(versions) > 3


def test_jobs_come_in_bursts_under_names_of_their_own():
    found = wishes_of(make_scenario(jobs=(make_job(burst=3.0),)), for_s=HOUR_S)

    assert all(isinstance(wish, Arrival) and len(wish.pods) == 3 for _, wish in found)
    names = [name for _, wish in found for name in wish.pods]
    assert len(set(names)) == len(names) > 30
    assert all(name.startswith(wish.member.name) for _, wish in found for name in wish.pods)


def test_how_many_pods_to_expect():
    service = make_service(kinds=1, replicas=Distribution(uniform=(3.0, 9.0)))
    scenario = make_scenario(services=(service,), jobs=(make_job(kinds=2, per_hour=60.0),))
    wishes = Wishes(scenario, seed=1, start_s=START_S)
    [replicas] = [wish.replicas for wish in wishes.due(START_S) if isinstance(wish, Deploy)]
    mix = wishes.pod_mix(for_s=2 * HOUR_S)

    assert mix.p.sum() == pytest.approx(1.0)
    assert mix.p.tolist() == pytest.approx([n / (replicas + 120) for n in (replicas, 60, 60)])
