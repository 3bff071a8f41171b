"""Networks, and training from the command line to a network that schedulers load.

All that needs the deep-learning framework is here: to import it takes seconds.
"""

import os
import re
import signal
import threading

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sb3_contrib")

import gymnasium  # noqa: E402 - not before it is known that the others are there
from gymnasium import spaces  # noqa: E402

from scheduler.plugins.learned.network import load_network, own_metadata  # noqa: E402
from scheduler.plugins.learned.observation import (  # noqa: E402
    CLOCK_FEATURES,
    NODE_FEATURES,
    POD_FEATURES,
    QUEUE_FEATURES,
    Observation,
)
from scheduler.simulator.__main__ import main  # noqa: E402
from scheduler.simulator.experiments.policies import policy_of  # noqa: E402
from scheduler.simulator.training.folder import Plan, TrainingFolder  # noqa: E402
from scheduler.simulator.training.learner import Learner  # noqa: E402
from scheduler.simulator.training.networks import IS_FEASIBLE, NodeRatingNetwork  # noqa: E402
from scheduler.simulator.training.onnx_export import export_network  # noqa: E402
from scheduler.simulator.training.settings import PpoSettings  # noqa: E402
from scheduler.simulator.training.worlds import (  # noqa: E402
    FIRST_TRAINING_SEED,
    make_worlds,
)
from tests.unit.simulator.training.scenarios import write_scenario  # noqa: E402

torch.set_num_threads(1)  # more would only be in each other's way

SIZES = {
    "pod": len(POD_FEATURES),
    "queue": len(QUEUE_FEATURES),
    "clock": len(CLOCK_FEATURES),
}
TINY = PpoSettings(n_steps=32, batch_size=32, n_epochs=2, width=16)
OPTIONS = ("--envs=2", "--n-steps=64", "--batch-size=64", "--width=16", "--eval-seeds=2")


class Lottery(gymnasium.Env):
    """Pays for the feasible node with the least first feature; remembers the worlds it was in."""

    def __init__(self, n_nodes=10):
        self.observation_space = spaces.Dict(
            {
                "nodes": box(n_nodes, len(NODE_FEATURES)),
                **{name: box(size) for name, size in SIZES.items()},
            }
        )
        self.action_space = spaces.Discrete(n_nodes + 1)
        self.seeds = []
        self._n_left = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self._n_left = 16
        return self._draw(), {}

    def step(self, action):
        nodes = self._seen["nodes"]
        first = np.where(nodes[:, IS_FEASIBLE] > 0, nodes[:, 0], 9.0)
        reward = 1.0 if action == int(first.argmin()) else 0.0
        self._n_left -= 1
        return self._draw(), reward, False, self._n_left == 0, {}

    def action_masks(self):
        return np.append(self._seen["nodes"][:, IS_FEASIBLE] > 0, True)

    def _draw(self):
        chance = self.np_random
        self._seen = {
            name: chance.random(space.shape, dtype=np.float32)
            for name, space in self.observation_space.items()
        }
        self._seen["nodes"][:, IS_FEASIBLE] = chance.random(len(self._seen["nodes"])) < 0.7
        return self._seen


def box(*shape):
    return spaces.Box(-4.0, 4.0, shape=shape, dtype=np.float32)


def draw(n_nodes, *, seed=0, p_feasible=0.6):
    """Draw an observation."""
    chance = np.random.default_rng(seed)
    nodes = chance.uniform(0.0, 2.0, (n_nodes, len(NODE_FEATURES)))
    nodes[:, IS_FEASIBLE] = chance.random(n_nodes) < p_feasible
    parts = {name: chance.uniform(-1.0, 2.0, size) for name, size in SIZES.items()}
    return Observation(**{k: v.astype(np.float32) for k, v in {"nodes": nodes, **parts}.items()})


def make_network(*, width=32):
    """Make one that has opinions: all weights of the size that they may come to have."""
    torch.manual_seed(1)
    network = NodeRatingNetwork(width=width)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return network


def logits_of(network, observation):
    with torch.no_grad():
        logits, _ = network(*(torch.as_tensor(each)[None] for each in observation))
    return logits[0].numpy()


def plan_of(**changes):
    fields = {
        "algorithm": "maskable-ppo",
        "scenario": "",
        "episode_s": 60.0,
        "seed": 0,
        "n_envs": 2,
        "may_wait": False,
        "hyperparameters": TINY,
    }
    return Plan(**{**fields, **changes})


def learn_lottery(path, *, n_steps=128, checkpoint_every=64, **changes):
    plan, folder = plan_of(**changes), TrainingFolder(path)
    folder.begin(plan, resume=False)
    learner = Learner(plan, folder=folder, make_env=Lottery)
    learner.learn(n_steps, checkpoint_every=checkpoint_every, must_stop=lambda: False)
    learner.close()
    return learner


def test_the_order_of_nodes_changes_the_order_of_logits_alone():
    network, seen = make_network(), draw(9)
    order = np.random.default_rng(1).permutation(9)

    straight, turned = (
        logits_of(network, seen),
        logits_of(network, seen._replace(nodes=seen.nodes[order])),
    )

    np.testing.assert_allclose(turned[:-1], straight[:-1][order], atol=1e-4)
    assert turned[-1] == pytest.approx(straight[-1], abs=1e-4)
    assert np.ptp(straight) > 1.0


def test_infeasible_nodes_do_not_count_in_what_all_are_beside():
    network, seen = make_network(), draw(9)
    feasible = seen.nodes[:, IS_FEASIBLE] > 0
    other = seen.nodes.copy()
    other[~feasible, :IS_FEASIBLE] += 1.0

    one, another = logits_of(network, seen), logits_of(network, seen._replace(nodes=other))

    np.testing.assert_array_equal(one[:-1][feasible], another[:-1][feasible])
    assert one[-1] == another[-1]


@pytest.mark.parametrize(
    ("n_nodes", "p_feasible"), [(1, 1.0), (10, 0.6), (37, 0.6), (500, 0.9), (10, 0.0)]
)
def test_the_exported_network_says_the_same(tmp_path, n_nodes, p_feasible):
    network = make_network()
    path = tmp_path / "policy.onnx"
    export_network(network, path, metadata={**own_metadata(), "seed": "7"})
    exported = load_network(path)

    seen = draw(n_nodes, p_feasible=p_feasible)

    expected = logits_of(network, seen)
    np.testing.assert_allclose(exported.logits(seen), expected, rtol=1e-5, atol=1e-5)
    assert exported.about["seed"] == "7"


def test_what_was_learnt_on_ten_nodes_rates_thirty_seven(tmp_path):
    learner = learn_lottery(
        tmp_path / "out",
        n_steps=6_144,
        checkpoint_every=6_144,
        n_envs=8,
        hyperparameters=PpoSettings(
            n_steps=128, batch_size=256, width=32, learning_rate=3e-3, gamma=0.0
        ),
    )

    hits = []
    for seed in range(200):
        seen = draw(37, seed=seed)
        feasible = seen.nodes[:, IS_FEASIBLE] > 0
        logits = np.where(feasible, logits_of(learner.network, seen)[:-1], -np.inf)
        ranks = np.where(feasible, seen.nodes[:, 0], np.inf).argsort().argsort()
        hits.append(ranks[logits.argmax()])

    assert np.mean(hits) < 3.0  # of some 22 feasible ones; by chance it were ten


def test_the_same_seed_learns_the_same(tmp_path):
    one, again, other = (
        learn_lottery(tmp_path / name, seed=seed).network.state_dict()
        for name, seed in (("one", 3), ("again", 3), ("other", 4))
    )

    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["pooled.weight"], other["pooled.weight"])


def test_it_learns_in_none_of_the_worlds_that_it_is_judged_in():
    made = []

    def make_env():
        made.append(Lottery())
        return made[-1]

    worlds = make_worlds(make_env, n_envs=2, key=(0, 0), may_wait=False, gamma=0.9)
    worlds.seed(5)
    worlds.reset()
    for _ in range(40):
        worlds.step(np.array([0, 0]))
    worlds.close()

    seeds = [seed for env in made for seed in env.seeds]
    assert len(set(seeds)) == len(seeds) == 6
    assert min(seeds) >= FIRST_TRAINING_SEED


@pytest.mark.parametrize("may_wait", [False, True])
def test_who_may_not_wait_is_shown_no_such_action_while_a_node_would_do(may_wait):
    worlds = make_worlds(Lottery, n_envs=1, key=(0,), may_wait=may_wait, gamma=0.9)
    worlds.reset()
    [masks] = worlds.env_method("action_masks")
    worlds.close()

    assert masks[:-1].any()
    assert masks[-1] == may_wait


def test_a_batch_is_never_larger_than_what_is_gathered(tmp_path):
    settings = msgspec.structs.replace(TINY, batch_size=1000)

    assert learn_lottery(tmp_path / "out", hyperparameters=settings).n_steps == 128


def train(tmp_path, *more, steps=256, options=OPTIONS, out="out"):
    scenario = write_scenario(tmp_path)
    return main(
        [
            "train",
            f"--scenario={scenario}",
            f"--steps={steps}",
            f"--out={tmp_path / out}",
            *options,
            *more,
        ]
    )


def test_one_command_trains_exports_judges_and_reports(tmp_path, capsys):
    code = train(tmp_path, "--checkpoint-every=128")

    out = tmp_path / "out"
    assert code == 0
    printed = capsys.readouterr().out
    assert "In 2 unseen worlds" in printed
    assert re.search(r"learned is (clearly|not) .* kube-default", printed)
    files = {path.name for path in out.iterdir()}
    assert {"policy.onnx", "report.md", "results.json", "learning.png", "rewards.png"} <= files
    assert list((out / "tensorboard").rglob("events.*"))
    report = (out / "report.md").read_text()
    assert "256 steps in 2 environments, seed 0" in report
    results = msgspec.json.decode((out / "results.json").read_bytes())
    assert [each["policy"] for each in results["standings"]] == [
        "learned",
        "kube-default",
        "most-allocated",
        "random",
    ]
    about = load_network(out / "policy.onnx").about
    assert (about["scenario"], about["seed"], about["steps"]) == ("small", "0", "256")
    assert policy_of(str(out / "policy.onnx")).name == "policy"

    assert train(tmp_path, steps=384) == 2
    assert "holds a training; go on with it (--resume)" in capsys.readouterr().err
    assert train(tmp_path, "--resume", "--seed=1", steps=384) == 2
    assert "with another seed" in capsys.readouterr().err
    assert train(tmp_path, "--resume", "--episode=10m", steps=384) == 2
    assert "with another episode_s" in capsys.readouterr().err

    assert train(tmp_path, "--resume", steps=384) == 0
    assert load_network(out / "policy.onnx").about["steps"] == "384"
    assert TrainingFolder(out).newest_checkpoint().name == "0000000384"


def test_ctrl_c_leaves_a_checkpoint_a_network_and_a_report(tmp_path, capsys):
    out = tmp_path / "out"
    is_over = threading.Event()

    def interrupt():
        while not (out / "episodes.jsonl").exists():
            if is_over.wait(0.01):
                return
        os.kill(os.getpid(), signal.SIGINT)

    user = threading.Thread(target=interrupt)
    user.start()
    try:
        code = train(tmp_path, steps=10_000_000)
    finally:
        is_over.set()
        user.join()

    assert code == 130
    n_steps = int(TrainingFolder(out).newest_checkpoint().name)
    assert load_network(out / "policy.onnx").about["steps"] == str(n_steps)
    assert f"interrupted after {n_steps:,} of 10,000,000 steps" in (out / "report.md").read_text()
    capsys.readouterr()

    assert train(tmp_path, "--resume", steps=n_steps + 1) == 0
    assert int(load_network(out / "policy.onnx").about["steps"]) > n_steps
