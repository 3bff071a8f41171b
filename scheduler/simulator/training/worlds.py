"""The worlds that a policy learns in: one after another, none of those that it is judged in."""

from collections.abc import Callable
from typing import Any, Final

import gymnasium
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

FIRST_TRAINING_SEED: Final = 1_000_000
"""Lower seeds are left for judging: what was learnt from is never judged by."""
_SEED_END: Final = 2**31

MaskedEnv = gymnasium.Env[dict[str, NDArray[np.float32]], np.int64]
MakeEnv = Callable[[], MaskedEnv]
"""Makes an environment with ``action_masks()``, whose last action is to skip."""


class TrainingWorlds(
    gymnasium.Wrapper[dict[str, NDArray[np.float32]], np.int64, Any, np.int64],
):
    """Draws the seed of each episode's world.

    Args:
        env: The environment.
        chance: Where seeds are drawn from.
    """

    def __init__(self, env: MaskedEnv, *, chance: np.random.Generator) -> None:
        super().__init__(env)
        self._chance = chance

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in a new world, whatever seed is asked for."""
        drawn = int(self._chance.integers(FIRST_TRAINING_SEED, _SEED_END))
        return super().reset(seed=drawn, options=options)


class Diligent(gymnasium.Wrapper[dict[str, NDArray[np.float32]], np.int64, Any, np.int64]):
    """Leaves no pod waiting that some node would take, as no Score plugin can."""

    def action_masks(self) -> NDArray[np.bool_]:
        """Return which actions are allowed, shape ``(n_nodes + 1,)``."""
        allowed: NDArray[np.bool_] = np.array(
            self.env.get_wrapper_attr("action_masks")(), dtype=bool
        )
        if allowed[:-1].any():
            allowed[-1] = False
        return allowed


def make_worlds(
    make_env: MakeEnv, *, n_envs: int, key: tuple[int, ...], may_wait: bool, gamma: float
) -> VecNormalize:
    """Make the environments of a training, which are played in turn in this process.

    Args:
        make_env: Makes one.
        n_envs: How many.
        key: Decides which worlds they go through.
        may_wait: Whether a pod may be left waiting that a node would take.
        gamma: The discount, by which the spread of returns is measured.
    """

    def maker(i: int) -> Callable[[], MaskedEnv]:
        def make() -> MaskedEnv:
            env = make_env() if may_wait else Diligent(make_env())
            worlds = TrainingWorlds(env, chance=np.random.default_rng((*key, i)))
            monitored: MaskedEnv = Monitor(worlds)
            return monitored

        return make

    return VecNormalize(DummyVecEnv([maker(i) for i in range(n_envs)]), norm_obs=False, gamma=gamma)
