"""NetworkTraffic: nodes that have received little lately."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

import msgspec
import numpy as np

from kube.edge.settings import HttpUrl
from scheduler.errors import ConfigError
from scheduler.framework.columns import IntColumn
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PluginArgs, PreScorePlugin, ScorePlugin
from scheduler.framework.measures import Measure
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import (
    MAX_NODE_SCORE,
    MIN_NODE_SCORE,
    SKIP,
    SUCCESS,
    BoolColumn,
    ScoreColumn,
    Status,
)
from scheduler.model import PodFacts
from scheduler.plugins.learned.policy import LearnedPolicy, LearnedPolicyArgs
from scheduler.plugins.learned.surroundings import Surroundings

_UNKNOWN: Final = -1
_METRIC: Final = "node_network_receive_bytes_total"


class NetworkTrafficArgs(PluginArgs, frozen=True):
    """Arguments of NetworkTraffic."""

    prometheus_address: HttpUrl | Literal[""] = ""
    """There is no default."""
    network_interface: Annotated[str, msgspec.Meta(pattern=r'^[^"\\\s]+$')] = "ens192"
    """Of each node, as node_exporter calls it (``device``)."""
    time_range_in_minutes: Annotated[int, msgspec.Meta(ge=1)] = 5
    node_label: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z_][a-zA-Z0-9_]*$")] = "kubernetes_node"
    """The label that names the node of node_exporter's series."""
    function: Literal["increase", "sum_over_time"] = "increase"
    """What is made of the counter over the time; ``sum_over_time`` is upstream's."""
    path: str = ""
    """A network's file, as of LearnedPolicy: rates nodes as long as it has an answer."""


@dataclass(frozen=True, slots=True)
class _Rated:
    """What was found out in this cycle."""

    scores: ScoreColumn


class NetworkTraffic(PreScorePlugin, ScorePlugin):
    """Rates nodes by the bytes that an interface has received; the busiest feasible one gets 0.

    Of a node that Prometheus does not know nothing can be said: it gets what the others get on
    average. Where it knows none, or does not answer, the plugin skips.

    Raises:
        ConfigError: No address is given, or the file named as a network's holds none.
    """

    name = "NetworkTraffic"
    args_type: ClassVar[type[PluginArgs]] = NetworkTrafficArgs
    reads_pods: ClassVar[bool] = False

    def __init__(self, args: NetworkTrafficArgs) -> None:
        super().__init__(args)
        if not args.prometheus_address:
            raise ConfigError("NetworkTraffic: prometheusAddress must say where Prometheus is")
        query = traffic_query(args)
        self._measure = Measure(args.prometheus_address, query, args.node_label)
        self.measures = (self._measure,)
        self._policy = None if not args.path else _policy(args.path)
        self.reads_usage = self._policy is not None and self._policy.reads_usage
        self.lacks = "" if self._policy is None else self._policy.lacks

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Sign all pods alike, for it is nodes that are rated; a network rates pods, too."""
        return () if self._policy is None else None

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Ask the network, if there is one; skip where nothing is known."""
        received_bytes, known = snapshot.measured(self._measure)
        if self._policy is None:
            return SUCCESS if known.any() else SKIP
        scores = self._ask_policy(state, pod=pod, snapshot=snapshot, feasible=feasible)
        if scores is None and (known & feasible).any():
            scores = traffic_scores(received_bytes, known=known & feasible)
        if scores is None:
            return SKIP
        state.write(_Rated(scores))
        return SUCCESS

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Return the bytes; where there is a network, the scores that were found."""
        if self._policy is None:
            received_bytes, known = snapshot.measured(self._measure)
            return np.where(known, np.maximum(received_bytes, 0), _UNKNOWN)
        rated = state.read(_Rated)
        return np.zeros(snapshot.n_nodes, dtype=np.int64) if rated is None else rated.scores

    def normalize(self, scores: ScoreColumn) -> ScoreColumn:
        """Rate the feasible nodes by their bytes; where there is a network, they are rated."""
        known = np.not_equal(scores, _UNKNOWN)
        if self._policy is not None or not known.any():
            return np.maximum(scores, MIN_NODE_SCORE)
        return traffic_scores(scores, known=known)

    def _ask_policy(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> ScoreColumn | None:
        surroundings = state.read(Surroundings)
        if self._policy is None or surroundings is None:
            return None
        # A state of its own: the profile may have LearnedPolicy, too, with another network.
        own = CycleState()
        own.write(surroundings)
        status = self._policy.pre_score(own, pod=pod, snapshot=snapshot, feasible=feasible)
        if not status.is_success:
            return None
        return self._policy.score(own, pod=pod, snapshot=snapshot)


def traffic_query(args: NetworkTrafficArgs) -> str:
    """Write down what is asked of Prometheus, for all nodes at once."""
    series = f'{_METRIC}{{device="{args.network_interface}"}}[{args.time_range_in_minutes}m]'
    return f"sum by ({args.node_label}) ({args.function}({series}))"


def traffic_scores(received_bytes: IntColumn, *, known: BoolColumn) -> ScoreColumn:
    """Rate nodes by what they have received.

    Args:
        received_bytes: Shape ``(n_nodes,)``.
        known: The same shape; some node is.

    Returns:
        The same shape: ``100 - 100 * bytes // most``, and of those not known the mean of the known
        ones', rounded down.
    """
    most = max(1, int(received_bytes[known].max()))
    scores = MAX_NODE_SCORE - MAX_NODE_SCORE * received_bytes // most
    scores[~known] = int(scores[known].sum()) // int(known.sum())
    return np.minimum(np.maximum(scores, MIN_NODE_SCORE), MAX_NODE_SCORE)


def _policy(path: str) -> LearnedPolicy:
    try:
        return LearnedPolicy(LearnedPolicyArgs(path=path))
    except ConfigError as error:
        raise ConfigError(f"NetworkTraffic: {error}") from error
