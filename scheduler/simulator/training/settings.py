"""How a policy learns: numbers that decide how well, and how soon."""

from typing import Annotated

import msgspec

from kube.edge.settings import Settings

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class PpoSettings(Settings, frozen=True):
    """Hyper-parameters of proximal policy optimisation; defaults that suit clusters of some tens.

    Rewards are divided by the running spread of returns, so that none of these depends on what a
    reward is measured in.
    """

    learning_rate: Positive = 6e-4
    """At the beginning; falls in a straight line to zero at the end."""
    gamma: Share = 0.995
    """What a reward one decision later is worth, of what it is worth now."""
    gae_lambda: Share = 0.95
    """How far advantages trust what happened over what the value network expects."""
    n_steps: Count = 256
    """Decisions in each environment between two updates."""
    batch_size: Count = 512
    """Decisions that a gradient is taken over; all that there are if they are fewer."""
    n_epochs: Count = 6
    """How often an update goes through its decisions."""
    clip_range: Positive = 0.2
    """How far an update may change a decision's probability, as a ratio."""
    entropy_weight: NotNegative = 0.002
    """Of the reward for staying undecided."""
    value_weight: NotNegative = 0.5
    """Of the value network's error, beside the policy's."""
    max_grad_norm: Positive = 0.5
    """Longer gradients are shortened to this."""
    width: Count = 64
    """Of the network's hidden layers."""
