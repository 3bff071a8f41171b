"""The folder of a training: its plan, its checkpoints, its episodes, its network.

Checkpoints are Stable-Baselines3's, which hold pickled Python: whoever loads one runs what is in
it. So ``--resume`` is for folders that this command wrote and no other could write to. Schedulers
load ``policy.onnx``, which is numbers alone.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from kube.edge.settings import SettingsError
from scheduler.simulator.training.settings import PpoSettings

NETWORK_FILE: Final = "policy.onnx"
TENSORBOARD_FOLDER: Final = "tensorboard"
_PLAN_FILE: Final = "training.json"
_EPISODES_FILE: Final = "episodes.jsonl"
_CHECKPOINTS_FOLDER: Final = "checkpoints"
_N_KEPT: Final = 3


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a training is: who goes on with it must say the same."""

    algorithm: str
    scenario: str
    """Its file, to the letter."""
    episode_s: float
    """How long a world is lived through, virtual time."""
    seed: int
    n_envs: int
    may_wait: bool
    hyperparameters: PpoSettings


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """An episode that was learnt from."""

    step: int
    """Decisions in all environments up to its end."""
    total_reward: float
    n_steps: int


class TrainingFolder:
    """Reads and writes what lies in the folder.

    Args:
        path: Made if missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.network = path / NETWORK_FILE
        self.tensorboard = path / TENSORBOARD_FOLDER
        self._checkpoints = path / _CHECKPOINTS_FOLDER

    def begin(self, plan: Plan, *, resume: bool) -> None:
        """Take the folder for a training, new or to be gone on with.

        Raises:
            SettingsError: It cannot be made, holds a training though a new one is meant, or none or
                another though it is to be gone on with.
        """
        try:
            self._checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"--out: cannot make {self.path}: {error.strerror}") from error
        held = self._plan()
        if resume:
            _check_same(held, plan=plan, path=self.path)
            return
        if held is not None:
            raise SettingsError(
                f"--out: {self.path} holds a training; go on with it (--resume) or name another"
            )
        encoded = msgspec.json.encode(plan)
        (self.path / _PLAN_FILE).write_bytes(msgspec.json.format(encoded, indent=1) + b"\n")

    def newest_checkpoint(self) -> Path | None:
        """Find the checkpoint with the most steps."""
        return max(self._all_checkpoints(), default=None)

    def new_checkpoint(self, n_steps: int) -> Path:
        """Make a folder to write a checkpoint to, which counts only when it is kept."""
        partial = self._checkpoints / f".{n_steps:010d}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        return partial

    def keep_checkpoint(self, partial: Path) -> None:
        """Let a checkpoint count that was written, and drop the oldest ones."""
        final = partial.with_name(partial.name.removeprefix(".").removesuffix(".partial"))
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        for old in self._all_checkpoints()[:-_N_KEPT]:
            shutil.rmtree(old)

    def add_episodes(self, episodes: Iterable[Episode]) -> None:
        """Note episodes."""
        with (self.path / _EPISODES_FILE).open("ab") as file:
            for episode in episodes:
                file.write(msgspec.json.encode(episode) + b"\n")

    def episodes(self) -> list[Episode]:
        """Read all episodes, in the order in which they ended."""
        path = self.path / _EPISODES_FILE
        lines = path.read_bytes().splitlines() if path.exists() else []
        return [msgspec.json.decode(line, type=Episode) for line in lines]

    def forget_episodes_after(self, n_steps: int) -> None:
        """Drop episodes that a training which goes on from *n_steps* will have anew."""
        kept = [episode for episode in self.episodes() if episode.step <= n_steps]
        (self.path / _EPISODES_FILE).unlink(missing_ok=True)
        self.add_episodes(kept)

    def _all_checkpoints(self) -> list[Path]:
        return sorted(path for path in self._checkpoints.iterdir() if path.name[0] != ".")

    def _plan(self) -> Plan | None:
        path = self.path / _PLAN_FILE
        if not path.exists():
            return None
        try:
            return msgspec.json.decode(path.read_bytes(), type=Plan)
        except msgspec.DecodeError as error:
            raise SettingsError(f"{path}: {error}") from error


def _check_same(held: Plan | None, *, plan: Plan, path: Path) -> None:
    if held is None:
        raise SettingsError(f"--resume: {path} holds no training")
    for name in Plan.__struct_fields__:
        if getattr(held, name) != getattr(plan, name):
            raise SettingsError(f"--resume: {path} holds a training with another {name}")
