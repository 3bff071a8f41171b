"""Speed of the learning environment: steps a second with observation, mask and reward.

``scripts/bench.sh env [--nodes N …] [--seconds S]``

A busy cluster at a steady load: services that run all the time, and jobs that arrive in bursts, run
for some minutes and end, so that about six tenths of the cpu are requested. All of the world's
physics runs, at its usual tick of ten seconds. Before the clock starts, the cluster fills up for a
quarter of an hour; from then on every step places a pod on the least allocated node that would do.
Steps a second are of CPU time on one core, the simulated world and the choice of nodes included,
measured in parts of a second of which the median counts; the best one, which other programs on the
machine disturbed least, stands beside it.
"""

import argparse
import time
from dataclasses import dataclass
from statistics import median

import numpy as np

from kube.edge.settings import Duration, Interval
from scheduler.simulator.draws import Distribution, LogNormal
from scheduler.simulator.experiments.scenario import Job, NodeGroup, Scenario, Service
from scheduler.simulator.gym.agents import LeastAllocated
from scheduler.simulator.gym.env import ClusterEnv
from scheduler.simulator.hardware import NodeNature
from tests.bench.machine import describe

FLOORS = {50: 5_000, 1_000: 1_000}
"""Steps a second that this project wants, by nodes."""
FILL_S = 900.0
PART_S = 1.0
JOBS_PER_NODE_HOUR = 240.0


def busy(n_nodes: int) -> Scenario:
    """A cluster of *n_nodes* of 16 cores, and work in proportion."""
    services = Service(
        name="web",
        kinds=max(1, n_nodes // 5),
        replicas=Distribution(uniform=(5.0, 15.0)),
        cpu_request_milli=Distribution(choice=(250.0, 500.0, 1000.0)),
        memory_request_mib=Distribution(choice=(512.0, 1024.0, 2048.0)),
        rollout_every=Interval(24 * 3600.0),
    )
    jobs = Job(
        name="batch",
        kinds=50,
        per_hour=JOBS_PER_NODE_HOUR * n_nodes,
        burst=Distribution(choice=(1.0, 2.0, 5.0, 20.0), weights=(4.0, 3.0, 2.0, 1.0)),
        cpu_request_milli=Distribution(choice=(250.0, 500.0, 1000.0)),
        memory_request_mib=Distribution(choice=(512.0, 1024.0, 2048.0)),
        run_s=Distribution(lognormal=LogNormal(median=150.0, sigma=0.8, max=3600.0)),
    )
    nature = NodeNature(fail_per_hour=1 / 720, container_crash_per_hour=0.02)
    return Scenario(
        name="busy",
        warm_up=Duration(0.0),
        measured=Interval(30 * 86_400.0),
        nodes=(NodeGroup(name="n", count=n_nodes, cpu="16", memory="64Gi", nature=nature),),
        services=(services,),
        jobs=(jobs,),
    )


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured."""

    parts: tuple[float, ...]
    """Steps a second of each part."""
    n_steps: int
    cpu_s: float
    virtual_s: float
    n_running: int
    requested_ratio: float


def measure(n_nodes: int, *, seconds: float, seed: int = 1) -> Speed:
    """Step for *seconds* of CPU time."""
    env, agent = ClusterEnv(busy(n_nodes)), LeastAllocated()
    observation, info = env.reset(seed=seed)
    from_s = info["now_s"]
    while info["now_s"] < from_s + FILL_S:
        observation, _, _, _, info = env.step(np.int64(agent.act(observation, info)))
    from_s, began_s = info["now_s"], time.process_time()
    parts, n_steps = [], 0
    while time.process_time() - began_s < seconds:
        part_began_s, n_before = time.process_time(), n_steps
        while time.process_time() - part_began_s < PART_S:
            for _ in range(100):
                observation, _, _, _, info = env.step(np.int64(agent.act(observation, info)))
            n_steps += 100
        parts.append((n_steps - n_before) / (time.process_time() - part_began_s))
    cpu_s = time.process_time() - began_s
    nodes = env.cluster.nodes
    return Speed(
        parts=tuple(parts),
        n_steps=n_steps,
        cpu_s=cpu_s,
        virtual_s=info["now_s"] - from_s,
        n_running=int(nodes.n_pods.sum()),
        requested_ratio=float(nodes.cpu_requested_milli.sum() / nodes.cpu_allocatable_milli.sum()),
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Steps a second of ClusterEnv-v0")
    parser.add_argument("--nodes", type=int, nargs="+", default=list(FLOORS))
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU time for each")
    options = parser.parse_args()
    print(describe())
    for n_nodes in options.nodes:
        speed = measure(n_nodes, seconds=options.seconds)
        floor = f" (wanted: {FLOORS[n_nodes]:,})" if n_nodes in FLOORS else ""
        print(
            f"{n_nodes:5,d} nodes: {median(speed.parts):8,.0f} steps/s{floor}, "
            f"at best {max(speed.parts):,.0f}; "
            f"{speed.n_steps:,} pods placed in {speed.virtual_s / 3600:.2f} virtual hours "
            f"({speed.virtual_s / speed.cpu_s:,.0f} times as fast as life), "
            f"{speed.n_running:,} pods on nodes, {speed.requested_ratio:.0%} of the cpu requested"
        )


if __name__ == "__main__":
    main()
