"""CPU time of the engine per pod, from PodSeen to Bind, at 5, 1,000 and 5,000 nodes.

The whole decision is counted (queue, all filters and scores of the default profile, assuming the
pod, the record that explains it), without the API server. Process CPU time, the median of rounds.
"""

import statistics
import time

from machine import describe

from scheduler.engine import Engine, EngineSettings
from scheduler.events import (
    AskPrediction,
    Bind,
    BindSucceeded,
    NodeSeen,
    PodSeen,
    PredictionFailed,
    Tick,
)
from scheduler.framework.profile import make_profiles
from scheduler.model import PODS, NodeFacts, PodFacts
from scheduler.plugins.defaults import built_in_configuration, built_in_registry

N_PODS = 400
N_ROUNDS = 5
GI = 2**30


def make_engine(n_nodes: int) -> Engine:
    profiles = make_profiles(built_in_configuration(), registry=built_in_registry())
    engine = Engine(profiles, settings=EngineSettings())
    for i in range(n_nodes):
        labels = {"kubernetes.io/hostname": f"n{i}", "topology.kubernetes.io/zone": f"z{i % 3}"}
        allocatable = {"cpu": 400_000, "memory": 800 * GI, PODS: 10_000}
        engine.handle(NodeSeen(NodeFacts(f"n{i}", allocatable=allocatable, labels=labels)), now_s=0)
    return engine


def make_pod(name: str) -> PodFacts:
    requests = {"cpu": 500, "memory": GI // 2}
    return PodFacts(
        namespace="default",
        name=name,
        uid=name,
        scheduler_name="ai-scheduler",
        requests=requests,
        scored_requests=requests,
        workload="default/Deployment/web",
    )


def cpu_us_per_pod(engine: Engine, *, prefix: str, now_s: float) -> float:
    pods = [make_pod(f"{prefix}-{i}") for i in range(N_PODS)]
    bound = []
    start = time.process_time()
    for pod in pods:
        engine.handle(PodSeen(pod), now_s=now_s)
    while len(bound) < N_PODS:
        for action in engine.handle(Tick(), now_s=now_s):
            if isinstance(action, Bind):
                bound.append(action)
                engine.handle(BindSucceeded(action.pod.uid), now_s=now_s)
            elif isinstance(action, AskPrediction):
                engine.handle(PredictionFailed(action.shapes, "unavailable"), now_s=now_s)
    return (time.process_time() - start) / N_PODS * 1e6


def main() -> None:
    print(f"# {describe()}")
    for n_nodes in (5, 1_000, 5_000):
        engine = make_engine(n_nodes)
        rounds = [cpu_us_per_pod(engine, prefix=f"r{i}", now_s=1000.0 * i) for i in range(N_ROUNDS)]
        print(
            f"{n_nodes} nodes, {N_PODS} pods a round: {statistics.median(rounds):.0f} us of CPU a "
            f"pod (of {N_ROUNDS} rounds: {min(rounds):.0f} to {max(rounds):.0f})"
        )


if __name__ == "__main__":
    main()
