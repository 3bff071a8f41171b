"""Programs that schedule in an experiment by the API server's door, whatever they are made of."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scheduler.simulator.experiments.external import External, run_external
from scheduler.simulator.experiments.observer import Observer
from scheduler.simulator.experiments.process import ExternalSchedulerError
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.natures import Nature
from tests.simulator_program import wait_for
from tests.unit.simulator.experiments.worlds import make_group, make_job, make_scenario

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "first_fit.py"
WAIT_S = 100.0


def make_site(*, cpu="4", cpu_request_milli=500.0, measured_s=1800.0):
    job = make_job(
        kinds=1,
        per_hour=100.0,
        run_s=300.0,
        cpu_request_milli=cpu_request_milli,
        nature=Nature(crash_per_hour=0.0),
    )
    return Site(
        make_scenario(make_group(count=2, cpu=cpu), jobs=(job,), measured_s=measured_s), seed=2
    )


def run(site, *, output, mode="", **fields):
    """Have the little scheduler schedule; its patience is never to end unless that is tested."""
    command = (sys.executable, str(PROGRAM), "{kubeconfig}", mode)
    fields = {"patience_s": 20.0, **fields}
    observer = Observer(site.scenario.observation, start_s=site.now_s)
    external = External(name="first-fit", command=command, output=output, **fields)
    return run_external(site, observer=observer, external=external)


def said(output, *, seed=2):
    return (output / f"first-fit-seed-{seed}.log").read_text()


def is_running(log):
    try:
        os.kill(int(re.search(r"pid (\d+)", log)[1]), 0)
    except ProcessLookupError:
        return False
    return True


def test_a_program_that_knows_only_the_api_places_every_pod_in_no_virtual_time(tmp_path):
    result = run(make_site(), output=tmp_path)

    assert result.policy == "first-fit"
    assert result.n_placements > 30
    assert (result.n_never_bound, result.pending_p99_s) == (0, 0.0)
    assert result.pace.n_timeouts == 0
    assert result.pace.n_waits > 25
    assert 0.0 < result.pace.waited_s < result.pace.wall_s
    assert result.pace.scheduler_cpu_s > 0.0
    assert "same KUBECONFIG" in said(tmp_path)
    assert not is_running(said(tmp_path))


def test_pods_that_find_no_room_are_waited_for_again_as_soon_as_there_is(tmp_path):
    result = run(make_site(cpu="2", cpu_request_milli=1500.0), output=tmp_path)

    assert result.n_never_bound > 5  # two run at a time
    assert result.n_placements > 8
    assert result.pace.n_timeouts == 0


def test_a_program_that_keeps_silent_costs_patience_and_no_more(tmp_path):
    site = make_site(cpu="2", cpu_request_milli=1500.0, measured_s=600.0)
    result = run(site, output=tmp_path, mode="shy", patience_s=0.3)

    assert result.n_placements > 1
    assert result.pace.n_timeouts > 0
    assert result.pace.waited_s >= 0.3 * result.pace.n_timeouts


def test_a_program_that_ends_ends_the_run_with_its_last_lines(tmp_path):
    with pytest.raises(
        ExternalSchedulerError, match="first-fit: ended by itself, exit code 3"
    ) as e:
        run(make_site(), output=tmp_path, mode="dies")

    assert "I have done enough" in str(e.value)


def test_a_program_that_never_answers_is_not_waited_for_for_ever(tmp_path):
    with pytest.raises(
        ExternalSchedulerError, match="gave no answer for any pod of 'ai-scheduler'"
    ):
        run(make_site(), output=tmp_path, mode="mute", start_s=2.0)

    assert not is_running(said(tmp_path))


def test_a_program_that_does_not_end_when_asked_to_is_killed(tmp_path):
    run(make_site(measured_s=300.0), output=tmp_path, mode="stubborn", grace_s=0.2)

    assert not is_running(said(tmp_path))


def test_a_program_that_cannot_be_run_is_no_riddle(tmp_path):
    (tmp_path / "notes.txt").write_text("no program")
    site = make_site()
    external = External(name="notes", command=(str(tmp_path / "notes.txt"),), patience_s=1.0)
    observer = Observer(site.scenario.observation, start_s=site.now_s)

    with pytest.raises(ExternalSchedulerError, match=r"notes: cannot start .*: Permission denied"):
        run_external(site, observer=observer, external=external)


# --- the command

SCENARIO = """\
name: small
warm_up: 10m
measured: 20m
nodes: [{name: good, count: 2}]
jobs: [{name: batch, per_hour: 60, run_s: 60}]
"""


INTERRUPTIBLE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # who runs us in the background may have us ignore it
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def evaluating(tmp_path, *options):
    (tmp_path / "small.yaml").write_text(SCENARIO)
    command = [sys.executable, "-c", INTERRUPTIBLE, "-m", "scheduler.simulator", "evaluate"]
    command += ["--scenario", str(tmp_path / "small.yaml"), "--policies=kube-default"]
    return subprocess.Popen(
        [*command, "--out", str(tmp_path / "out"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def external(mode=""):
    return f"--external=first-fit='{sys.executable}' '{PROGRAM}' {{kubeconfig}} {mode}"


def policies_of(tmp_path):
    results = json.loads((tmp_path / "out" / "results.json").read_bytes())
    return [run["policy"] for run in results["results"]]


def test_a_failing_program_ends_the_evaluation_and_leaves_what_was_done(tmp_path):
    with evaluating(tmp_path, "--seeds=1", external("dies")) as process:
        _, errors = process.communicate(timeout=WAIT_S)

    assert process.returncode == 1
    assert "scheduler.simulator: first-fit: ended by itself, exit code 3" in errors
    assert "a program did not schedule: 1 of 2 runs had ended" in errors
    assert "Traceback" not in errors
    assert policies_of(tmp_path) == ["kube-default"]


@pytest.mark.parametrize(
    ("number", "n_jobs", "n_results"), [(signal.SIGINT, 2, 2), (signal.SIGTERM, 1, 1)]
)
def test_an_interrupted_evaluation_leaves_a_report_and_no_process(
    tmp_path, n_jobs, n_results, number
):
    calm = ("--seeds=2", f"--jobs={n_jobs}", "--patience=300")
    with evaluating(tmp_path, *calm, external("mute")) as process:
        for _ in range(n_results):
            assert "kube-default" in process.stdout.readline()
        folder = tmp_path / "out" / "external"
        wait_for(lambda: len([f for f in folder.glob("*") if "pid" in f.read_text()]) == n_jobs)
        process.send_signal(number)
        rest, errors = process.communicate(timeout=WAIT_S)

    assert process.returncode == 130
    ended = f"interrupted: {n_results} of 4 runs had ended"
    assert f"scheduler.simulator: {ended}" in errors
    assert "Traceback" not in errors
    assert f"note: {ended}" in rest
    assert f"> Note: {ended}" in (tmp_path / "out" / "report.md").read_text()
    assert policies_of(tmp_path) == ["kube-default"] * n_results
    assert not any(is_running(log.read_text()) for log in folder.glob("*"))
