"""The scenarios that show what the shipped profiles are for."""

from collections import defaultdict
from pathlib import Path

import msgspec
import pytest

from kube.edge.settings import Interval
from scheduler.plugins.defaults import SCHEDULER_NAME
from scheduler.simulator.experiments.observer import Observer
from scheduler.simulator.experiments.policies import BASELINE, NAMES, policy_of
from scheduler.simulator.experiments.run import Run
from scheduler.simulator.experiments.scenario import load_scenario
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.resources import NODES, PODS

CONFIG = Path(__file__).parents[4] / "config"
PROFILES = {path.stem: path for path in (CONFIG / "profiles").glob("*.yaml")}
SCENARIOS = {path.stem: path for path in (CONFIG / "scenarios").glob("*.yaml")}
ELSEWHERE = {
    "all": "scripts/bench.sh scheduler --profile all measures what it costs",
    "learned": "scripts/train.sh compares the network that it trains",
    "mixed": "tests/integration/test_plugins_mixed.py places what it is for",
}
"""Profiles that no scenario compares, and where they are used."""
ZONE = "topology.kubernetes.io/zone"


@pytest.mark.parametrize("profile", sorted(PROFILES.keys() - ELSEWHERE.keys()))
def test_each_profile_is_compared_with_the_defaults_in_a_scenario_of_its_name(profile):
    policies = load_scenario(SCENARIOS[profile]).policies

    assert BASELINE in policies
    assert PROFILES[profile].resolve() in [Path(policy).resolve() for policy in policies]


def test_each_exception_is_a_profile_without_a_scenario():
    assert PROFILES.keys() >= ELSEWHERE.keys()
    assert not SCENARIOS.keys() & ELSEWHERE.keys()


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_each_scenario_compares_policies_that_load_and_are_told_apart(name):
    policies = [policy_of(each) for each in load_scenario(SCENARIOS[name]).policies or NAMES]

    assert all(SCHEDULER_NAME in policy.profiles() for policy in policies)
    assert len({policy.name for policy in policies}) == len(policies)


def test_the_policy_ai_is_the_shipped_profile_with_a_predictor_that_learns():
    built_in, shipped = policy_of("ai"), policy_of(str(PROFILES["ai"]))

    assert (shipped.name, shipped.predictor) == (built_in.name, built_in.predictor)
    assert weights(shipped) == weights(built_in)


def weights(policy):
    return dict(policy.profiles()[SCHEDULER_NAME].weights)


class Placed:
    """Where a policy has put the scenario ``default`` in its first quarter of an hour."""

    def __init__(self, policy):
        shipped = load_scenario(SCENARIOS["default"])
        site = Site(msgspec.structs.replace(shipped, measured=Interval(900.0)), seed=1)
        observer = Observer(shipped.observation, start_s=site.start_s)
        Run(site, observer=observer, policy=policy_of(policy)).advance(site.end_s)
        pods = site.store.list(PODS)
        self.nodes = {pod["metadata"]["name"]: pod["spec"].get("nodeName") for pod in pods}
        zones = {
            node["metadata"]["name"]: node["metadata"]["labels"][ZONE]
            for node in site.store.list(NODES)
        }
        self.zones = defaultdict(set)
        """By service."""
        for pod in pods:
            if any(o["kind"] == "ReplicaSet" for o in pod["metadata"]["ownerReferences"]):
                app = pod["metadata"]["labels"]["app"]
                self.zones[app].add(zones[pod["spec"]["nodeName"]])

    @property
    def in_one_zone(self):
        """Services that are lost with a zone."""
        return [service for service, zones in self.zones.items() if len(zones) == 1]


@pytest.fixture(scope="module")
def placed():
    policies = {"kube-default": BASELINE, "default": str(PROFILES["default"]), "random": "random"}
    return {name: Placed(policy) for name, policy in policies.items()}


def test_the_default_profile_places_the_same_pods_on_the_same_nodes_as_kube_default(placed):
    assert len(placed["default"].nodes) > 40
    assert placed["default"].nodes == placed["kube-default"].nodes


def test_the_defaults_put_no_service_into_a_single_zone_and_chance_does(placed):
    assert placed["default"].in_one_zone == []
    assert placed["random"].in_one_zone != []
