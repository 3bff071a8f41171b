"""``evaluate`` on the command line: what it refuses, and what it leaves behind."""

import json

import msgspec
import pytest

from scheduler.simulator.__main__ import main
from scheduler.simulator.experiments.results import RunResult
from scheduler.simulator.experiments.run import run_seed
from scheduler.simulator.experiments.scenario import load_scenario

SMALL = """\
name: small
description: Two nodes, a service and some work.
warm_up: 10m
measured: 20m
nodes:
  - {name: good, count: 2}
services:
  - {name: web, replicas: 2}
jobs:
  - {name: batch, per_hour: 60, run_s: 60}
"""


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def evaluate(*options):
    try:
        return main(["evaluate", *map(str, options)])
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(["--policies=best"], "'best' is no policy (kube-default", id="policy"),
        pytest.param(["--policies=ai,/nowhere.yaml"], "no profile file", id="profile file"),
        pytest.param(["--policies=,"], "--policies: name at least one", id="no policy"),
        pytest.param(["--policies=ai,ai"], "two are called 'ai'", id="a policy twice"),
        pytest.param(["--seeds=0"], "--seeds: must be 1 or more, not '0'", id="no seed"),
        pytest.param(["--seeds=many"], "not 'many'", id="no number"),
        pytest.param(["--first-seed=-1"], "--first-seed: must be 0 or more", id="seed"),
        pytest.param(["--jobs=0"], "--jobs: must be 1 or more", id="no process"),
        pytest.param(["--usage=/nowhere"], "/nowhere: No such file", id="no recordings"),
        pytest.param(["--scenario=/nowhere.yaml"], "/nowhere.yaml: No such file", id="scenario"),
        pytest.param(["--external="], "--external: name a command", id="no command"),
        pytest.param(["--external='"], '--external: cannot read "\'"', id="unreadable command"),
        pytest.param(["--external=no-such-thing -x"], "no program 'no-such-thing'", id="program"),
        pytest.param(
            ["--external=env a", "--external=env b"], "called 'env'; say NAME=", id="twice"
        ),
        pytest.param(["--external=random=env"], "two are called 'random'", id="as a policy"),
        pytest.param(["--patience=0"], "--patience: must be more than 0", id="no patience"),
        pytest.param(["--patience=long"], "'long' is not a duration", id="patience"),
        pytest.param(["--speed=3"], "unrecognized arguments: --speed=3", id="unknown option"),
    ],
)
def test_wrong_options_are_refused_with_a_reason(scenario, options, words, capsys):
    assert evaluate(f"--scenario={scenario}", "--seeds=1", *options) == 2

    captured = capsys.readouterr()
    assert words in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_a_scenario_must_be_named(capsys):
    assert evaluate("--seeds=1") == 2
    assert "--scenario" in capsys.readouterr().err


def test_a_wrong_scenario_is_refused_with_file_line_and_key(scenario, capsys):
    scenario.write_text(SMALL.replace("per_hour", "per_huor"))

    assert evaluate(f"--scenario={scenario}") == 2
    assert f"{scenario}:10: jobs.0.per_huor: unknown key" in capsys.readouterr().err


def test_pods_that_the_api_server_refuses_are_the_scenarios_fault(scenario, capsys):
    scenario.write_text(SMALL.replace("replicas: 2", "pod_spec: {restartPolicy: Never}"))

    assert evaluate(f"--scenario={scenario}", "--seeds=1") == 2
    message = capsys.readouterr().err
    assert message.startswith("scheduler.simulator: scenario small: POST /apis/apps/v1/")
    assert 'restartPolicy: Unsupported value: "Never"' in message


def test_a_folder_that_cannot_be_made_is_refused_before_anything_runs(scenario, capsys):
    assert evaluate(f"--scenario={scenario}", "--seeds=1", f"--out={scenario}/report") == 2

    captured = capsys.readouterr()
    assert f"--out: cannot make {scenario}/report: " in captured.err
    assert captured.out == ""


def test_two_profile_files_of_one_name_are_refused(scenario, tmp_path, capsys):
    kept = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
    (tmp_path / "ai.yaml").write_text(f"{kept}profiles: [{{schedulerName: ai-scheduler}}]\n")

    assert evaluate(f"--scenario={scenario}", f"--policies=ai,{tmp_path / 'ai.yaml'}") == 2
    assert "two are called 'ai'" in capsys.readouterr().err


def test_a_report_is_left_behind_with_policies_in_the_order_asked_for(scenario, tmp_path, capsys):
    profile = tmp_path / "mine.yaml"
    profile.write_text(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
        "profiles: [{schedulerName: ai-scheduler}]\n"
    )
    out = tmp_path / "reports" / "first"
    asked = (f"--policies={profile},kube-default", "--seeds=2", "--first-seed=3", "--jobs=1")

    assert evaluate(f"--scenario={scenario}", f"--out={out}", *asked) == 0

    results = json.loads((out / "results.json").read_bytes())
    runs = msgspec.convert(results["results"], list[RunResult])
    assert [(run.policy, run.seed) for run in runs] == [
        ("mine", 3),
        ("mine", 4),
        ("kube-default", 3),
        ("kube-default", 4),
    ]
    assert min(run.n_placements for run in runs) > 5
    mine, default = runs[:2], runs[2:]
    assert [measured(run) for run in mine] == [measured(run) for run in default]
    report = (out / "report.md").read_text()
    assert "small" in report
    assert "kube-default" in report
    assert (out / "scenario.yaml").read_text() == SMALL
    printed = capsys.readouterr().out
    assert "[4/4] seed 4" in printed
    assert f"report: {out / 'report.md'}" in printed


def test_processes_beside_each_other_come_to_what_one_comes_to(scenario, tmp_path):
    asked = ("--policies=random", "--seeds=2", "--jobs=2", f"--out={tmp_path / 'out'}")

    assert evaluate(f"--scenario={scenario}", *asked) == 0

    results = json.loads((tmp_path / "out" / "results.json").read_bytes())["results"]
    loaded = load_scenario(scenario)
    alone = [run for seed in (0, 1) for run in run_seed(loaded, seed=seed, policies=["random"])]
    assert [measured(msgspec.convert(run, RunResult)) for run in results] == [
        measured(run) for run in alone
    ]


def measured(run):
    """All that a run came to, but for its name and what it took."""
    return msgspec.structs.replace(run, policy="", cpu_s=0.0)


def test_a_scenario_says_whom_to_compare_where_nobody_else_does(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
        "profiles: [{schedulerName: ai-scheduler}]\n"
    )
    path = tmp_path / "scenarios" / "small.yaml"
    path.parent.mkdir()
    path.write_text(f"{SMALL}policies: [kube-default, ../mine.yaml]\n")

    assert evaluate(f"--scenario={path}", "--seeds=1", "--jobs=1") == 0

    printed = capsys.readouterr().out
    assert "[1/2] seed 0 kube-default" in printed
    assert "[2/2] seed 0 mine" in printed
