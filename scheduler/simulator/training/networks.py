"""A policy network for any number of nodes.

All nodes are rated by one set of weights, each beside the pod, the queue, the clock, and a summary
of the nodes where the pod may go. So the network does not care in which order the nodes come
(their logits come in that order), nor how many there are: what was learnt on ten nodes rates forty.
"""

from typing import Any, Final, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.common.maskable.distributions import (
    MaskableCategoricalDistribution,
    MaskableDistribution,
)
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.torch_layers import CombinedExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from scheduler.plugins.learned.observation import (
    CLOCK_FEATURES,
    NODE_FEATURES,
    POD_FEATURES,
    QUEUE_FEATURES,
)

DEFAULT_WIDTH: Final = 64
IS_FEASIBLE: Final = NODE_FEATURES.index("is_feasible")
N_CONTEXT: Final = len(POD_FEATURES) + len(QUEUE_FEATURES) + len(CLOCK_FEATURES)
_HIDDEN_GAIN: Final = 2.0**0.5
_LOGIT_GAIN: Final = 0.01
"""At first all nodes are about equally good: nothing is preferred before anything is learnt."""

Masks: TypeAlias = NDArray[np.bool_] | Tensor
Observations: TypeAlias = dict[str, Tensor]


class NodeRatingNetwork(nn.Module):  # type: ignore[misc]  # types are not looked into
    """Rates each node, waiting, and the state itself.

    Args:
        width: Of every hidden layer.
    """

    def __init__(self, *, width: int = DEFAULT_WIDTH) -> None:
        super().__init__()
        self.width = width
        # Two parts of one layer: the context's is worked out once, not once a node.
        self.node_in = nn.Linear(len(NODE_FEATURES), width, bias=False)
        self.context_in = nn.Linear(N_CONTEXT, width)
        self.node_hidden = nn.Linear(width, width)
        self.pooled = nn.Linear(N_CONTEXT + 2 * width, width)
        self.node_last = nn.Linear(width, width, bias=False)
        self.pooled_last = nn.Linear(width, width)
        self.node_logit = nn.Linear(width, 1)
        self.skip_logit = nn.Linear(width, 1)
        self.value_hidden = nn.Linear(width, width)
        self.value = nn.Linear(width, 1)
        for layer in self.children():
            _initialize(layer, gain=_HIDDEN_GAIN)
        for layer in (self.node_logit, self.skip_logit):
            _initialize(layer, gain=_LOGIT_GAIN)
        _initialize(self.value, gain=1.0)

    def forward(
        self, nodes: Tensor, pod: Tensor, queue: Tensor, clock: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Rate a batch of observations of clusters of one size.

        Args:
            nodes: Shape ``(n, n_nodes, len(NODE_FEATURES))``.
            pod: Shape ``(n, len(POD_FEATURES))``; queue and clock likewise.
            queue: What waits.
            clock: The time of day.

        Returns:
            Logits, shape ``(n, n_nodes + 1)``, the last for skipping; and the state's value, shape
            ``(n, 1)``.
        """
        context = torch.cat((pod, queue, clock), dim=1)
        first = torch.relu(self.node_in(nodes) + self.context_in(context).unsqueeze(1))
        hidden = torch.relu(self.node_hidden(first))
        is_feasible = nodes[:, :, IS_FEASIBLE : IS_FEASIBLE + 1]
        # Never below zero, so zero in place of the infeasible ones leaves the highest as it is.
        feasible = hidden * is_feasible
        mean = feasible.sum(dim=1) / is_feasible.sum(dim=1).clamp(min=1.0)
        pooled = torch.relu(self.pooled(torch.cat((context, mean, feasible.amax(dim=1)), dim=1)))
        last = torch.relu(self.node_last(hidden) + self.pooled_last(pooled).unsqueeze(1))
        node_logits = self.node_logit(last).squeeze(2)
        logits = torch.cat((node_logits, self.skip_logit(pooled)), dim=1)
        return logits, self.value(torch.relu(self.value_hidden(pooled)))


class NodeRatingPolicy(MaskableActorCriticPolicy):  # type: ignore[misc]  # as above
    """The network as Stable-Baselines3 knows policies.

    Args:
        observation_space: ``nodes``, ``pod``, ``queue`` and ``clock``, as ``ClusterEnv`` has them.
        action_space: A node, or after the last one, to skip.
        lr_schedule: The learning rate by the share of the training that is left.
        width: Of the network's hidden layers.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        width: int = DEFAULT_WIDTH,
        **options: Any,
    ) -> None:
        self._width = width
        options.setdefault("features_extractor_class", CombinedExtractor)
        super().__init__(observation_space, action_space, lr_schedule, **options)

    def _build(self, lr_schedule: Schedule) -> None:
        self.network = NodeRatingNetwork(width=self._width)
        options = {"lr": lr_schedule(1.0), **self.optimizer_kwargs}
        self.optimizer = self.optimizer_class(self.parameters(), **options)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "width": self._width}

    def forward(
        self,
        obs: Observations,
        deterministic: bool = False,  # noqa: FBT001, FBT002 - the library's signature
        action_masks: Masks | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Choose actions; return them, the states' values, and the actions' log-probabilities."""
        logits, values = self._rate(obs)
        distribution = _distribution(logits, masks=action_masks)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, values, distribution.log_prob(actions)

    def evaluate_actions(
        self, obs: Observations, actions: Tensor, action_masks: Masks | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the states' values, the actions' log-probabilities, and the entropy."""
        logits, values = self._rate(obs)
        distribution = _distribution(logits, masks=action_masks)
        return values, distribution.log_prob(actions), distribution.entropy()

    def get_distribution(
        self, obs: Observations, action_masks: Masks | None = None
    ) -> MaskableDistribution:
        """Return how actions are drawn."""
        return _distribution(self._rate(obs)[0], masks=action_masks)

    def predict_values(self, obs: Observations) -> Tensor:
        """Return the states' values."""
        return self._rate(obs)[1]

    def _rate(self, obs: Observations) -> tuple[Tensor, Tensor]:
        logits, values = self.network(obs["nodes"], obs["pod"], obs["queue"], obs["clock"])
        return logits, values


def _distribution(logits: Tensor, *, masks: Masks | None) -> MaskableDistribution:
    """Make the distribution for as many nodes as there are, whatever the space said."""
    distribution = MaskableCategoricalDistribution(logits.shape[1]).proba_distribution(logits)
    if masks is not None:
        distribution.apply_masking(masks)
    return distribution


def _initialize(layer: nn.Module, *, gain: float) -> None:
    for name, parameter in layer.named_parameters():
        if name == "bias":
            nn.init.zeros_(parameter)
        else:
            nn.init.orthogonal_(parameter, gain=gain)
