"""Learning by MaskablePPO of sb3-contrib: on from where it is, with checkpoints on the way."""

import sys
from collections.abc import Callable
from typing import Final

from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

from scheduler.simulator.training.folder import Episode, Plan, TrainingFolder
from scheduler.simulator.training.networks import NodeRatingNetwork, NodeRatingPolicy
from scheduler.simulator.training.worlds import MakeEnv, make_worlds

_MODEL_FILE: Final = "model.zip"
_RETURNS_FILE: Final = "returns.pkl"


class FallingRate:
    """A learning rate that falls to zero in a straight line.

    Args:
        rate: At the beginning.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, share_left: float) -> float:
        """Return the rate when *share_left* of the training is left."""
        return self.rate * share_left


class Learner:
    """A policy in training.

    Args:
        plan: What it learns from, and how.
        folder: Where checkpoints go, and come from.
        make_env: Makes an environment.
    """

    def __init__(self, plan: Plan, *, folder: TrainingFolder, make_env: MakeEnv) -> None:
        self._folder = folder
        checkpoint = folder.newest_checkpoint()
        n_done = 0 if checkpoint is None else int(checkpoint.name)
        ppo = plan.hyperparameters
        folder.forget_episodes_after(n_done)
        worlds = make_worlds(
            make_env,
            n_envs=plan.n_envs,
            key=(plan.seed, n_done),
            may_wait=plan.may_wait,
            gamma=ppo.gamma,
        )
        if checkpoint is None:
            self._model = MaskablePPO(
                NodeRatingPolicy,
                worlds,
                learning_rate=FallingRate(ppo.learning_rate),
                n_steps=ppo.n_steps,
                batch_size=min(ppo.batch_size, ppo.n_steps * plan.n_envs),
                n_epochs=ppo.n_epochs,
                gamma=ppo.gamma,
                gae_lambda=ppo.gae_lambda,
                clip_range=ppo.clip_range,
                ent_coef=ppo.entropy_weight,
                vf_coef=ppo.value_weight,
                max_grad_norm=ppo.max_grad_norm,
                tensorboard_log=str(folder.tensorboard),
                policy_kwargs={"width": ppo.width},
                seed=plan.seed,
                device="cpu",
            )
        else:
            worlds = VecNormalize.load(str(checkpoint / _RETURNS_FILE), worlds.venv)
            self._model = MaskablePPO.load(checkpoint / _MODEL_FILE, env=worlds, device="cpu")

    @property
    def n_steps(self) -> int:
        """How many decisions it has learnt from."""
        return int(self._model.num_timesteps)

    @property
    def network(self) -> NodeRatingNetwork:
        """The network as it is now."""
        network: NodeRatingNetwork = self._model.policy.network
        return network

    def learn(self, n_steps: int, *, checkpoint_every: int, must_stop: Callable[[], bool]) -> None:
        """Learn until *n_steps* in all are done, or it must stop; leave a checkpoint at the end.

        Args:
            n_steps: Those of earlier runs included.
            checkpoint_every: Steps.
            must_stop: Asked after every decision.
        """
        if self.n_steps < n_steps:
            self._model.learn(
                n_steps - self.n_steps,
                callback=_Attendant(
                    self._folder,
                    save=self._save,
                    checkpoint_every=checkpoint_every,
                    must_stop=must_stop,
                ),
                tb_log_name="run",
                reset_num_timesteps=False,
                progress_bar=sys.stderr.isatty(),
            )
            self._save()

    def close(self) -> None:
        """Let the environments go."""
        self._model.get_env().close()

    def _save(self) -> None:
        partial = self._folder.new_checkpoint(self.n_steps)
        self._model.save(partial / _MODEL_FILE)
        self._model.get_vec_normalize_env().save(str(partial / _RETURNS_FILE))
        self._folder.keep_checkpoint(partial)


class _Attendant(BaseCallback):  # type: ignore[misc]  # types are not looked into
    """Notes episodes, has checkpoints saved between updates, and stops when asked to."""

    def __init__(
        self,
        folder: TrainingFolder,
        *,
        save: Callable[[], None],
        checkpoint_every: int,
        must_stop: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._folder = folder
        self._save = save
        self._every = checkpoint_every
        self._must_stop = must_stop
        self._next_at = 0

    def _on_training_start(self) -> None:
        self._next_at = self.num_timesteps + self._every

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self._next_at:
            self._next_at = self.num_timesteps + self._every
            self._save()

    def _on_step(self) -> bool:
        ended = (info["episode"] for info in self.locals["infos"] if "episode" in info)
        episodes = [
            Episode(step=self.num_timesteps, total_reward=float(e["r"]), n_steps=int(e["l"]))
            for e in ended
        ]
        if episodes:
            self._folder.add_episodes(episodes)
        return not self._must_stop()
