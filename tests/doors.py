"""One scenario for all doors to the simulated world, and a scheduler that leaves nothing to chance.

Whichever door it comes by, that scheduler puts the same pods on the same nodes, although much
happens there: nodes die and come back, services leak memory until they are evicted, are rolled out
and are replaced, jobs crash. What cannot be the same are the random ends of replicas' names, and
with these their luck; so luck decides nothing about services here. Pods are told apart by their
workload and the order in which they came.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from kube.edge.settings import Duration, Interval
from scheduler.cluster.usage.collector import read_metrics
from scheduler.events import NodesMeasured
from scheduler.framework.configuration import read_configuration
from scheduler.plugins.defaults import SCHEDULER_NAME, built_in_registry
from scheduler.simulator import changes as ch
from scheduler.simulator.draws import Distribution
from scheduler.simulator.experiments.observer import Observer
from scheduler.simulator.experiments.policies import Policy
from scheduler.simulator.experiments.run import Run
from scheduler.simulator.experiments.scenario import Job, NodeGroup, Scenario, Service
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.gym.agents import ProfileAgent
from scheduler.simulator.gym.env import ClusterEnv
from scheduler.simulator.hardware import NodeNature
from scheduler.simulator.kubelet.placement import workload_of
from scheduler.simulator.natures import Nature
from scheduler.simulator.parameters import CpuPhysics, MemoryPhysics, Physics
from scheduler.simulator.resources import PODS

HOUR_S = 3600.0
RANK = "rank"
N_NODES = 8

PROFILE = {
    "schedulerName": SCHEDULER_NAME,
    "plugins": {
        "score": {
            "disabled": [{"name": "*"}],
            "enabled": [
                {"name": "NodeResourcesFit", "weight": 100},
                {"name": "NodeAffinity", "weight": 1},
            ],
        }
    },
}
"""The least allocated node; of equally good ones, the one with the highest rank."""
CONFIGURATION = {
    "apiVersion": "kubescheduler.config.k8s.io/v1",
    "kind": "KubeSchedulerConfiguration",
    "profiles": [PROFILE],
}

STEADY = Nature(
    burst_ratio=0.0,
    crash_per_hour=0.0,
    cpu_ratio=Distribution(uniform=(0.2, 0.8)),
    memory_ratio=Distribution(uniform=(0.3, 0.7)),
)
LEAKING = Nature(
    burst_ratio=0.0, crash_per_hour=0.0, memory_ratio=1.0, memory_growth_ratio_per_h=8.0
)
FRAGILE = Nature(memory_ratio=Distribution(uniform=(0.5, 1.3)), crash_per_hour=0.5)


def ranked():
    """A preference for nodes by their rank, which no two share."""
    terms = [
        {
            "weight": rank,
            "preference": {
                "matchExpressions": [{"key": RANK, "operator": "In", "values": [str(rank)]}]
            },
        }
        for rank in range(1, N_NODES + 1)
    ]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": terms}}


def doors_scenario(*, hours=4.0, **fields):
    """Eight nodes of four sizes, two of which die now and then; services and jobs."""
    groups = [
        NodeGroup(
            name=f"g{rank}",
            count=1,
            cpu=str(3 + rank % 4),
            memory=f"{6 + 2 * (rank % 4)}Gi",
            labels={RANK: str(rank), "disk": "ssd" if rank % 2 else "hdd"},
            nature=NodeNature(fail_per_hour=0.5, outage_s=300.0) if rank > 6 else NodeNature(),
        )
        for rank in range(1, N_NODES + 1)
    ]
    spec = {"affinity": ranked()}
    services = (
        Service(
            name="web",
            kinds=3,
            replicas=4.0,
            rollout_every=Interval(HOUR_S),
            nature=STEADY,
            pod_spec=spec,
        ),
        Service(
            name="leak",
            kinds=2,
            replicas=2.0,
            memory_request_mib=512.0,
            nature=LEAKING,
            priority=5,
            pod_spec={**spec, "nodeSelector": {"disk": "ssd"}},
        ),
    )
    jobs = (
        Job(
            name="batch",
            kinds=3,
            per_hour=90.0,
            burst=2.0,
            cpu_request_milli=Distribution(choice=(100.0, 300.0)),
            memory_request_mib=Distribution(choice=(256.0, 512.0)),
            memory_limit_ratio=1.2,
            run_s=Distribution(uniform=(60.0, 1200.0)),
            nature=FRAGILE,
            pod_spec=spec,
        ),
    )
    physics = Physics(
        cpu=CpuPhysics(slow_noise_ratio=0.0, fast_noise_ratio=0.0, starved_crash_per_hour=0.0),
        memory=MemoryPhysics(noise_ratio=0.0),
    )
    defaults = {
        "name": "doors",
        "warm_up": Duration(0.0),
        "measured": Interval(hours * HOUR_S),
        "nodes": tuple(groups),
        "services": services,
        "jobs": jobs,
        "physics": physics,
    }
    return Scenario(**{**defaults, **fields})


def doors_policy():
    """The scheduler that leaves nothing to chance."""
    configuration = read_configuration(CONFIGURATION, registry=built_in_registry())
    return Policy("doors", configuration, "none")


@dataclass
class Course:
    """What happened: by workload, each pod in the order of creation, and what befell the nodes."""

    pods: Mapping[str, list[tuple[float, float, str]]]
    """When it came (whole seconds), when it was placed, and where."""
    happened: Counter = field(default_factory=Counter)
    measured: list = field(default_factory=list)
    """What the nodes were said to use, time by time."""


class _Onlooker(Observer):
    """Notes what a scheduler would be told at each of its looks."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.measured = []

    def look(self, client):
        super().look(client)
        now_s = client.now_s()
        usage = read_metrics(self.metrics(now_s=now_s), now_s=now_s).usage
        self.measured.append((now_s, usage))


def _course(found, *, happened, measured, until_s):
    by_workload = {}
    for workload, created_s, placed_s, node in found:
        if placed_s < until_s:
            by_workload.setdefault(workload, []).append((created_s, placed_s, node))
    return Course(by_workload, happened, [each for each in measured if each[0] < until_s])


_TOLD = (ch.NodeFailed, ch.NodeRecovered, ch.PodEvicted, ch.PodFinished, ch.ContainerExited)


def _count(happened):
    def witness(change):
        if isinstance(change, _TOLD):
            happened[type(change).__name__] += 1

    return witness


def through_batch_door(scenario, *, seed):
    """Run the engine on the simulated API server, in virtual time."""
    site = Site(scenario, seed=seed)
    pods, happened = {}, Counter()
    site.cluster.on_world_change(_count(happened))

    def note(change):
        if change.resource is not PODS or change.type == "DELETED":
            return
        uid, node = change.new["metadata"]["uid"], change.new["spec"].get("nodeName", "")
        if change.old is None:
            pods[uid] = [workload_of(change.new), float(int(site.now_s)), np.inf, ""]
        if node and not pods[uid][3]:
            pods[uid][2:] = [site.now_s, node]

    site.store.on_change(note)
    observer = _Onlooker(scenario.observation, start_s=site.start_s)
    Run(site, observer=observer, policy=doors_policy()).advance(site.end_s)
    return _course(pods.values(), happened=happened, measured=observer.measured, until_s=site.end_s)


def through_env(scenario, *, seed):
    """Let the engine act in the environment."""
    env = ClusterEnv(scenario)
    agent = ProfileAgent(env, doors_policy())
    observation, info = env.reset(seed=seed)
    happened, measured = Counter(), []
    env.cluster.witnesses.append(_count(happened))

    def see(event):
        if isinstance(event, NodesMeasured):
            measured.append((env.cluster.now_s, event.usage))

    env.cluster.watchers.append(see)
    placed, is_over = [], False
    while not is_over:
        pod, at_s, action = env.offered, info["now_s"], agent.act(observation, info)
        if pod is not None and action < scenario.n_nodes:
            node = env.cluster.nodes.names[action]
            placed.append((pod.number, (pod.template.workload, pod.created_at_s, at_s, node)))
        observation, _, _, is_over, info = env.step(action)
    found = [each for _, each in sorted(placed)]
    return _course(found, happened=happened, measured=measured, until_s=info["now_s"])
