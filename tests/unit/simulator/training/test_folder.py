"""What is kept of a training, and what is dropped."""

import msgspec
import pytest

from kube.edge.settings import SettingsError
from scheduler.simulator.training.folder import Episode, Plan, TrainingFolder
from scheduler.simulator.training.settings import PpoSettings

PLAN = Plan(
    algorithm="maskable-ppo",
    scenario="name: a",
    episode_s=60.0,
    seed=1,
    n_envs=2,
    may_wait=False,
    hyperparameters=PpoSettings(),
)


@pytest.fixture
def folder(tmp_path):
    folder = TrainingFolder(tmp_path / "out")
    folder.begin(PLAN, resume=False)
    return folder


def save(folder, n_steps):
    partial = folder.new_checkpoint(n_steps)
    (partial / "model").write_text(str(n_steps))
    folder.keep_checkpoint(partial)


def test_the_newest_checkpoints_are_kept(folder):
    assert folder.newest_checkpoint() is None

    for n_steps in (5, 900, 1000, 20_000, 90):
        save(folder, n_steps)

    kept = sorted(int(path.name) for path in folder.newest_checkpoint().parent.iterdir())
    assert kept == [900, 1000, 20_000]
    assert folder.newest_checkpoint().joinpath("model").read_text() == "20000"


def test_half_a_checkpoint_does_not_count(folder):
    save(folder, 5)
    folder.new_checkpoint(10).joinpath("model").write_text("half")

    assert folder.newest_checkpoint().name == "0000000005"


def test_a_checkpoint_can_be_written_anew(folder):
    save(folder, 5)
    save(folder, 5)

    assert folder.newest_checkpoint().name == "0000000005"


def test_episodes_after_the_checkpoint_are_forgotten(folder):
    episodes = [Episode(step=step, total_reward=-1.0, n_steps=3) for step in (10, 20, 30)]
    folder.add_episodes(episodes[:1])
    folder.add_episodes(episodes[1:])
    assert folder.episodes() == episodes

    folder.forget_episodes_after(20)

    assert folder.episodes() == episodes[:2]


def test_a_folder_is_gone_on_with_by_the_same_plan_alone(tmp_path, folder):
    TrainingFolder(tmp_path / "out").begin(PLAN, resume=True)

    other = msgspec.structs.replace(PLAN, hyperparameters=PpoSettings(gamma=0.5))
    with pytest.raises(SettingsError, match=r"--resume: .* with another hyperparameters"):
        folder.begin(other, resume=True)
    with pytest.raises(SettingsError, match=r"--resume: .*/other holds no training"):
        TrainingFolder(tmp_path / "other").begin(PLAN, resume=True)
    with pytest.raises(SettingsError, match="holds a training; go on with it"):
        folder.begin(PLAN, resume=False)


def test_a_place_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(SettingsError, match="--out: cannot make"):
        TrainingFolder(tmp_path / "file" / "out").begin(PLAN, resume=False)


def test_a_plan_that_cannot_be_read_is_refused(tmp_path, folder):
    (tmp_path / "out" / "training.json").write_text('{"algorithm": 5}')

    with pytest.raises(SettingsError, match=r"training\.json: .*algorithm"):
        folder.begin(PLAN, resume=True)
