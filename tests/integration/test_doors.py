"""One scenario, one policy, and every door to the simulated cluster: the same placements.

The policy is deterministic: the emptiest node by requests, and among equally empty ones the first
in the order that the pods prefer; no two nodes ever score the same, so that nothing is left to the
hash that breaks ties by pods' uids, which differ from door to door.
"""

import copy
import sys

import msgspec
import pytest
import yaml

from scheduler.simulator.experiments.external import External, run_external
from scheduler.simulator.experiments.observer import Observer
from scheduler.simulator.experiments.policies import policy_of
from scheduler.simulator.experiments.run import Run
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.gym.agents import ProfileAgent
from scheduler.simulator.gym.env import ClusterEnv
from scheduler.simulator.natures import Nature
from scheduler.simulator.resources import PODS
from tests.unit.simulator.experiments.worlds import make_group, make_job, make_scenario

pytestmark = pytest.mark.integration

N_NODES = 5
SEED = 24
PATIENCE_S = 20.0
"""Never waited for: a machine may be as busy as it likes."""


def preference(number):
    """What makes a pod like a node by its number alone."""
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [f"n{number}"]}
    return {"weight": 10 * number, "preference": {"matchExpressions": [expression]}}


PREFERENCES = [preference(number) for number in range(1, N_NODES + 1)]
POD_SPEC = {
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": PREFERENCES}}
}
PROFILE = {
    "apiVersion": "kubescheduler.config.k8s.io/v1",
    "kind": "KubeSchedulerConfiguration",
    "podMaxBackoffSeconds": 1,  # or who was refused more often would come later
    "profiles": [
        {
            "schedulerName": "ai-scheduler",
            "plugins": {
                "score": {
                    "disabled": [{"name": "*"}],
                    "enabled": [
                        {"name": "NodeResourcesFit", "weight": 101},  # more than all preferences
                        {"name": "NodeAffinity", "weight": 1},
                    ],
                }
            },
        }
    ],
}


@pytest.fixture(scope="module")
def past():
    """A cluster at its beginning; of the work that comes a few pods find no room at once.

    Its seed is one with which no two pods wait at the same time, and none begins to in the moment
    before there is room: which of two goes first, and how long a scheduler backs off, depends on
    when it hears of what, and that on the door.
    """
    jobs = [
        make_job(
            name,
            kinds=4,
            per_hour=per_hour,
            burst=burst,
            run_s=run_s,
            cpu_request_milli=cpu_milli,
            memory_request_mib=128.0,
            nature=Nature(crash_per_hour=0.0),
        )
        for name, per_hour, burst, run_s, cpu_milli in (
            ("small", 80.0, 2.0, 120.0, 700.0),
            ("large", 12.0, 1.0, 300.0, 2500.0),
        )
    ]
    nodes = make_group(count=N_NODES, cpu="3")
    scenario = make_scenario(
        nodes,
        jobs=tuple(msgspec.structs.replace(job, pod_spec=POD_SPEC) for job in jobs),
        measured_s=3600.0,
    )
    site = Site(scenario, seed=SEED)
    return site, Observer(scenario.observation, start_s=site.start_s)


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    path = tmp_path_factory.mktemp("doors") / "deterministic.yaml"
    path.write_text(yaml.safe_dump(PROFILE))
    return path


class Placements(dict):
    """When and where each pod of a site was placed, from now on."""

    def __init__(self, site):
        self.site = site
        site.store.on_change(self.note, of=(PODS,))

    def note(self, change):
        node = change.new["spec"].get("nodeName")
        had_node = change.old is not None and change.old["spec"].get("nodeName")
        if node and not had_node:
            self[change.new["metadata"]["name"]] = (node, self.site.now_s)


def through_the_batch_door(past, profile):
    site, observer = past[0].copy(), copy.deepcopy(past[1])
    placements = Placements(site)
    run = Run(site, observer=observer, policy=policy_of(str(profile)))
    return placements, run.measure(site.end_s)


def through_the_api_servers_door(past, profile):
    """By ``python -m scheduler``, a process of its own."""
    site, observer = past[0].copy(), copy.deepcopy(past[1])
    placements = Placements(site)
    settings = profile.with_name("scheduler.yaml")
    settings.write_text(
        yaml.safe_dump(
            {
                "server": {"port": 0},
                "profile_path": profile.name,
                # The cluster's clock is asked for as often as its time may leap.
                "feedback": {"interval": "50ms"},
            }
        )
    )
    program = External(
        name="ours",
        command=(sys.executable, "-m", "scheduler", "--config", str(settings)),
        patience_s=PATIENCE_S,
        output=profile.parent,
    )
    return placements, run_external(site, observer=observer, external=program)


def through_the_gymnasium_door(past, profile):
    """By the environment that policies are trained in."""
    env = ClusterEnv(past[0].scenario)
    agent = ProfileAgent(env, policy_of(str(profile)))
    observation, info = env.reset(seed=SEED)
    placements, is_over = {}, False
    while not is_over:
        action = agent.act(observation, info)
        if env.offered is not None and action < N_NODES:
            placements[env.offered.name] = (env.cluster.nodes.names[action], info["now_s"])
        observation, _, _, is_over, info = env.step(action)
    return placements, None


@pytest.fixture(scope="module")
def batch(past, profile):
    return through_the_batch_door(past, profile)


def test_the_scenario_is_worth_it(batch):
    placements, result = batch

    assert result.n_placements > 80
    assert {node for node, _ in placements.values()} == {f"n{i}" for i in range(1, N_NODES + 1)}
    assert result.pending_p99_s > 10.0  # some found no room at once


@pytest.mark.parametrize("door", [through_the_api_servers_door, through_the_gymnasium_door])
def test_every_door_leads_to_the_same_placements(batch, past, profile, door):
    placements, result = door(past, profile)

    assert placements == batch[0]
    if result is None:
        return
    assert result.n_failed_placements == batch[1].n_failed_placements
    assert result.pending_p99_s == batch[1].pending_p99_s
