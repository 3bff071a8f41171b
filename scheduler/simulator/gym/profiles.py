"""The scheduler itself on a lean cluster: any profile, asked about pod after pod."""

from scheduler.engine import Engine, EngineSettings
from scheduler.events import (
    Action,
    AskPrediction,
    Bind,
    BindSucceeded,
    Event,
    PodGone,
    PodSeen,
    PredictionFailed,
    Tick,
)
from scheduler.simulator.experiments.policies import Policy
from scheduler.simulator.gym.cluster import LeanCluster
from scheduler.simulator.gym.pods import LeanPod


class ProfileScheduler:
    """Our engine on a lean cluster: told what its watches would say, asked about pod after pod.

    A predictor is not there; a profile that asks one goes on without. Only the pod in question is
    known to wait.

    Args:
        cluster: Where it looks on from now on.
        policy: How it is set up.
        seed: Breaks ties.
    """

    def __init__(self, cluster: LeanCluster, policy: Policy, *, seed: int) -> None:
        settings = EngineSettings(seed=seed, n_recorded_nodes=0)
        self._engine = Engine(policy.profiles(), settings=settings)
        self._cluster = cluster
        self._promised: dict[str, None] = {}
        """Pods that it has chosen a node for, and has not seen there."""
        for event in cluster.events():
            self._see(event)
        cluster.watchers.append(self._see)

    def choose(self, pod: LeanPod) -> int | None:
        """Choose a node for a waiting pod: its row, or ``None`` to let it wait."""
        if pod.uid in self._promised:
            self._forget(pod)  # somebody else was faster there
        self._handle(PodSeen(pod.facts()))
        node = self._decide()
        if node is None:
            self._forget(pod)
            return None
        self._promised[pod.uid] = None
        self._handle(BindSucceeded(pod.uid))
        return self._cluster.nodes.rows[node]

    def leave(self) -> None:
        """Look on no longer."""
        self._cluster.watchers.remove(self._see)

    def _decide(self) -> str | None:
        actions = self._handle(Tick())
        asked = [action for action in actions if isinstance(action, AskPrediction)]
        for action in asked:
            self._handle(PredictionFailed(action.shapes, "unavailable"))
        if asked:
            actions = self._handle(Tick())
        bound = next((action for action in actions if isinstance(action, Bind)), None)
        return None if bound is None else bound.node

    def _see(self, event: Event) -> None:
        if isinstance(event, PodSeen):
            self._promised.pop(event.pod.uid, None)
        self._handle(event)

    def _forget(self, pod: LeanPod) -> None:
        self._promised.pop(pod.uid, None)
        self._handle(PodGone(pod.uid, pod.uid))

    def _handle(self, event: Event) -> list[Action]:
        return self._engine.handle(event, now_s=self._cluster.now_s)


def run_profile(cluster: LeanCluster, policy: Policy, *, for_s: float, seed: int) -> None:
    """Let a profile place all pods for some seconds."""
    scheduler = ProfileScheduler(cluster, policy, seed=seed)
    until_s = cluster.now_s + for_s
    while cluster.now_s < until_s:
        for queue in range(len(cluster.queues)):
            while (offer := cluster.offer(queue)) is not None:
                row = scheduler.choose(offer[0])
                if row is None:
                    cluster.set_aside(offer[0])
                else:
                    cluster.bind(offer[0], row=row)
        cluster.advance(min(until_s, cluster.next_s()))
    scheduler.leave()
