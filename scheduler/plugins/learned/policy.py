"""LearnedPolicy: nodes rated by a network that was trained in the simulator."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from kube.quantity import CPU, MEMORY
from scheduler.errors import ConfigError
from scheduler.framework.changes import NEVER
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PluginArgs, PreScorePlugin, ScorePlugin
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import (
    MAX_NODE_SCORE,
    SKIP,
    SUCCESS,
    BoolColumn,
    ScoreColumn,
    Status,
)
from scheduler.model import PODS, PodFacts
from scheduler.plugins.learned.network import (
    AbsentNetworkError,
    LearnedNetwork,
    NetworkError,
    load_network,
)
from scheduler.plugins.learned.observation import NodeState, Observation, PodState, observe
from scheduler.plugins.learned.surroundings import Surroundings

NO_INFORMATION_SCORE: Final = 50


class LearnedPolicyArgs(PluginArgs, frozen=True):
    """Arguments of LearnedPolicy."""

    path: str = ""
    """The network's file, as ``python -m scheduler.simulator train`` exports it."""


@dataclass(frozen=True, slots=True)
class _Rated:
    """What the network said in this cycle."""

    scores: ScoreColumn


class LearnedPolicy(PreScorePlugin, ScorePlugin):
    """Rates nodes by how likely the learned policy would be to choose each.

    A score is ``100 * p / max(p)``, rounded down, where p is the policy's probability of a node
    among the feasible ones: the policy's choice alone gets 100, so that with no other Score plugin
    the scheduler does as the policy does. The network sees what it saw in training
    (``observation``). Where there is no network, the engine does not say what surrounds the pod, or
    the network's answer is no number, the plugin skips, and the other plugins decide.

    Raises:
        ConfigError: No file is named, or it holds no network that can be used here.
    """

    name = "LearnedPolicy"
    args_type: ClassVar[type[PluginArgs]] = LearnedPolicyArgs
    reads_usage = True

    def __init__(self, args: LearnedPolicyArgs) -> None:
        super().__init__(args)
        self._network: LearnedNetwork | None = None
        try:
            self._network = _load(args.path)
        except AbsentNetworkError as error:
            self.lacks = f"path: {error}"
            self.reads_usage = False
        self._nodes = _KeptNodes()

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Ask the network; skip where it has no answer."""
        surroundings = state.read(Surroundings)
        if self._network is None or surroundings is None or not feasible.any():
            return SKIP
        nodes = self._nodes.of(snapshot)
        observation = observation_of(pod, nodes=nodes, feasible=feasible, surroundings=surroundings)
        logits = self._network.logits(observation)[:-1]
        if not (np.isfinite(logits) | ~feasible).all():
            return SKIP
        state.write(_Rated(scores_of(logits, feasible=feasible)))
        return SUCCESS

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Return what the network said."""
        rated = state.read(_Rated)
        if rated is None:
            return np.full(snapshot.n_nodes, NO_INFORMATION_SCORE, dtype=np.int64)
        return rated.scores


class _KeptNodes:
    """Nodes as the network sees them, brought up to date where pods came or went."""

    def __init__(self) -> None:
        self._snapshot = Snapshot()
        self._node_version = self._version = NEVER
        self._nodes = _nodes_of(self._snapshot)

    def of(self, snapshot: Snapshot) -> NodeState:
        """Return what is true of *snapshot*, to be read before it changes."""
        changed = None
        if snapshot is self._snapshot and not self._are_others(snapshot):
            changed = snapshot.changes.since(self._version)
        if changed is None:
            self._snapshot, self._nodes = snapshot, _nodes_of(snapshot)
        elif changed:
            rows = np.fromiter(changed, dtype=np.intp, count=len(changed))
            self._nodes.cpu_requested_milli[rows] = snapshot.requested[CPU][rows]
            self._nodes.memory_requested_bytes[rows] = snapshot.requested[MEMORY][rows]
            self._nodes.n_pods[rows] = snapshot.requested[PODS][rows]
            self._nodes.restate(rows)
        self._node_version = snapshot.node_changes.version
        self._version = snapshot.changes.version
        return self._nodes

    def _are_others(self, snapshot: Snapshot) -> bool:
        changed = snapshot.node_changes.since(self._node_version)
        return changed is None or bool(changed)


def _nodes_of(snapshot: Snapshot) -> NodeState:
    is_measured = snapshot.is_measured
    return NodeState(
        cpu_allocatable_milli=snapshot.allocatable[CPU].astype(np.float64),
        memory_allocatable_bytes=snapshot.allocatable[MEMORY].astype(np.float64),
        pods_allocatable=snapshot.allocatable[PODS].astype(np.float64),
        cpu_requested_milli=snapshot.requested[CPU].astype(np.float64),
        memory_requested_bytes=snapshot.requested[MEMORY].astype(np.float64),
        n_pods=snapshot.requested[PODS].astype(np.float64),
        cpu_usage_milli=np.where(is_measured, snapshot.usage[CPU], np.nan),
        memory_usage_bytes=np.where(is_measured, snapshot.usage[MEMORY], np.nan),
    )


def observation_of(
    pod: PodFacts, *, nodes: NodeState, feasible: BoolColumn, surroundings: Surroundings
) -> Observation:
    """Turn what a cycle sees into the network's input.

    Args:
        pod: To be placed.
        nodes: At least one.
        feasible: Shape ``(n_nodes,)``.
        surroundings: The moment and the queue.
    """
    now_s = surroundings.now_s
    waited_s = now_s - pod.created_at_s if pod.created_at_s else 0.0
    state = PodState(
        cpu_request_milli=pod.requests.get(CPU, 0),
        memory_request_bytes=pod.requests.get(MEMORY, 0),
        waited_s=waited_s,
        priority=pod.priority,
    )
    return observe(nodes, pod=state, queue=surroundings.queue, feasible=feasible, now_s=now_s)


def scores_of(logits: NDArray[np.float32], *, feasible: BoolColumn) -> ScoreColumn:
    """Turn logits into scores; the best feasible node's alone is 100.

    Args:
        logits: Shape ``(n_nodes,)``; finite where feasible.
        feasible: The same shape; some node is.
    """
    # In single precision, who is all but the best would tie with the best.
    rated = np.where(feasible, logits.astype(np.float64), -np.inf)
    scores: ScoreColumn = (MAX_NODE_SCORE * np.exp(rated - rated.max())).astype(np.int64)
    return scores


def _load(path: str) -> LearnedNetwork:
    if not path:
        raise ConfigError("LearnedPolicy: path: name the network's file")
    try:
        return load_network(Path(path))
    except AbsentNetworkError:
        raise
    except NetworkError as error:
        raise ConfigError(f"LearnedPolicy: path: {error}") from error
