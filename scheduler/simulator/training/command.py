"""``python -m scheduler.simulator train``: learn a policy, export it, and judge it."""

import argparse
import shlex
import sys
import time
from functools import partial

import torch

from scheduler.plugins.learned.network import load_network, own_metadata
from scheduler.simulator.experiments import provenance
from scheduler.simulator.experiments.scenario import Scenario, load_scenario
from scheduler.simulator.gym.env import ClusterEnv
from scheduler.simulator.training.folder import Plan, TrainingFolder
from scheduler.simulator.training.interruption import EXIT_CODE, Interruption
from scheduler.simulator.training.judging import RIVALS, Judged, judge_network, standings
from scheduler.simulator.training.learner import Learner
from scheduler.simulator.training.onnx_export import export_network
from scheduler.simulator.training.options import hyperparameters_of
from scheduler.simulator.training.report import TrainingResults, terminal_report, write_report


def train(options: argparse.Namespace) -> int:
    """Train, export, judge, and report; return the exit code.

    Ctrl-C ends it early: with a checkpoint to go on from, the network as it is then, and a report
    of what there is.

    Raises:
        SettingsError: The scenario, an option or the folder cannot be used.
        ConfigError: The scenario asks for what the environment does not keep.
    """
    scenario = load_scenario(options.scenario)
    episode_s = float(scenario.measured if options.episode is None else options.episode)
    plan = Plan(
        algorithm=options.algo,
        scenario=options.scenario.read_text(encoding="utf-8"),
        episode_s=episode_s,
        seed=options.seed,
        n_envs=options.envs,
        may_wait=options.may_wait,
        hyperparameters=hyperparameters_of(options),
    )
    make_env = partial(ClusterEnv, scenario, episode=episode_s)
    env = make_env()
    folder = TrainingFolder(options.out)
    folder.begin(plan, resume=options.resume)
    torch.set_num_threads(options.threads)
    with Interruption() as interruption:
        learner = Learner(plan, folder=folder, make_env=make_env)
        began_s = time.process_time()
        learner.learn(
            options.steps,
            checkpoint_every=options.checkpoint_every,
            must_stop=lambda: interruption.is_asked,
        )
        cpu_s = time.process_time() - began_s
        _export(learner, plan=plan, folder=folder, scenario=scenario)
        seeds = range(options.eval_seeds)
        judged = _judge(env, folder=folder, plan=plan, seeds=seeds, interruption=interruption)
    ended_early = ""
    if interruption.is_asked:
        ended_early = (
            f"interrupted after {learner.n_steps:,} of {options.steps:,} steps and {len(judged)} "
            f"of {len(seeds) * (1 + len(RIVALS))} episodes in unseen worlds; --resume goes on"
        )
    results = TrainingResults(
        scenario=scenario.name,
        description=scenario.description,
        command="python -m scheduler.simulator " + shlex.join(sys.argv[1:]),
        plan=plan,
        weights=scenario.reward,
        n_steps=learner.n_steps,
        cpu_s=cpu_s,
        ended_early=ended_early,
        episodes=folder.episodes(),
        judged=judged,
        standings=standings(judged),
    )
    print(terminal_report(results), end="")
    write_report(results, directory=folder.path)
    print(f"network: {folder.network}\nreport: {folder.path / 'report.md'}")
    return EXIT_CODE if interruption.is_asked else 0


def _export(learner: Learner, *, plan: Plan, folder: TrainingFolder, scenario: Scenario) -> None:
    about = {
        "algorithm": plan.algorithm,
        "scenario": scenario.name,
        "seed": str(plan.seed),
        "steps": str(learner.n_steps),
        "commit": provenance.commit() or "unknown",
    }
    export_network(learner.network, folder.network, metadata={**own_metadata(), **about})


def _judge(
    env: ClusterEnv,
    *,
    folder: TrainingFolder,
    plan: Plan,
    seeds: range,
    interruption: Interruption,
) -> list[Judged]:
    judged: list[Judged] = []
    episodes = judge_network(
        env,
        load_network(folder.network),
        may_wait=plan.may_wait,
        seeds=seeds,
        must_stop=lambda: interruption.is_asked,
    )
    n_all = len(seeds) * (1 + len(RIVALS))
    for episode in episodes:
        judged.append(episode)
        print(
            f"[{len(judged)}/{n_all}] seed {episode.seed} {episode.policy}: total reward "
            f"{episode.total_reward:.2f}, {episode.n_placed} placements",
            flush=True,
        )
    return judged
