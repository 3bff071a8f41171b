import subprocess
import sys

import msgspec
import pytest

from scheduler.simulator.experiments import provenance
from scheduler.simulator.experiments.report import Evaluation, terminal_report, write_report
from scheduler.simulator.experiments.results import Pace
from scheduler.simulator.experiments.table import MAX_COLUMNS
from tests.unit.simulator.experiments.makers import (
    make_about,
    make_quality,
    make_run,
    make_runs,
)

RUNS = [
    *make_runs(troubles=(100, 101, 99)),
    *make_runs("ai", troubles=(50, 51, 49), model=make_quality(), trainings={"served": 1}),
]


def read(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_writes_what_a_reader_and_a_program_need(tmp_path):
    directory = tmp_path / "made" / "here"

    write_report(RUNS, about=make_about(), directory=directory)

    files = read(directory)
    text = files["report.md"].decode()
    assert files["scenario.yaml"] == b"name: mixed-week\n"
    assert "python -m scheduler.simulator evaluate --seeds 3" in text
    assert "Workloads that ask for too much" in text
    assert "3 seeds (0 to 2)" in text
    assert provenance.machine() in text
    assert "| ai | all troubles | at most ×0.60 | met |" in text
    for name in ("troubles.png", "throttled.png", "pending.png", "brier.png"):
        assert f"({name})" in text
        assert name in files


def test_a_program_reads_all_of_it_back(tmp_path):
    write_report(RUNS, about=make_about(), directory=tmp_path)

    evaluation = msgspec.json.decode((tmp_path / "results.json").read_bytes(), type=Evaluation)
    assert evaluation.schema_version == 1
    assert evaluation.results == RUNS
    assert evaluation.summary.baseline == "kube-default"
    assert {verdict.policy for verdict in evaluation.verdicts} == {"ai"}


def test_the_same_results_make_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_report(RUNS, about=make_about(), directory=tmp_path / name)

    assert read(tmp_path / "a") == read(tmp_path / "b")


def test_replaces_an_earlier_report_and_nothing_else(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write_report(RUNS, about=make_about(), directory=tmp_path)

    write_report(make_runs(), about=make_about(), directory=tmp_path)

    files = read(tmp_path)
    assert files["notes.txt"] == b"mine"
    assert "brier.png" not in files
    assert b"brier.png" not in files["report.md"]


def test_says_that_plots_are_left_out_where_matplotlib_is_missing(tmp_path):
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from pathlib import Path\n"
        "from scheduler.simulator.experiments.report import write_report\n"
        "from tests.unit.simulator.experiments.makers import *\n"
        "write_report(make_runs(), about=make_about(), directory=Path(sys.argv[1]))\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=True, cwd=provenance.PROJECT
    )

    assert "plots are left out: matplotlib is not installed" in (tmp_path / "report.md").read_text()
    assert not list(tmp_path.glob("*.png"))


def test_the_terminal_shows_the_same_within_its_width():
    text = terminal_report(RUNS, about=make_about())

    assert "×0.50 [" in text
    assert "at most ×0.60" in text
    assert max(map(len, text.splitlines())) <= MAX_COLUMNS


def test_tells_how_programs_kept_pace(tmp_path):
    pace = Pace(wall_s=12.3, n_waits=345, waited_s=6.7, n_timeouts=2, scheduler_cpu_s=0.8)
    runs = [*make_runs(), *make_runs("kube-scheduler", pace=pace)]

    write_report(runs, about=make_about(), directory=tmp_path)

    row = "| kube-scheduler | 1 | 48.00 | 12.3 | 345 | 6.7 | 2 | 0.8 |"
    assert row in (tmp_path / "report.md").read_text()
    assert "Programs, run by run" in terminal_report(runs, about=make_about())
    assert "Programs, run by run" not in terminal_report(RUNS, about=make_about())


def test_says_first_that_not_all_was_run(tmp_path):
    about = make_about(ended_early="interrupted: 3 of 10 runs had ended")

    write_report(RUNS, about=about, directory=tmp_path)

    assert "> Note: interrupted: 3 of 10 runs had ended.\n" in (tmp_path / "report.md").read_text()


def test_names_failed_runs():
    text = terminal_report([*RUNS, make_run("random", seed=1)], about=make_about())

    assert "note: random has no result on 2 seeds (0, 2); it is compared" in text


def test_warns_of_a_single_seed_and_of_another_baseline():
    text = terminal_report([make_run("random"), make_run("ai")], about=make_about())

    assert "with a single seed there are no intervals" in text
    assert "kube-default has no result; compared with random in its stead" in text


def test_a_folder_that_is_no_checkout_has_no_commit(tmp_path):
    assert provenance.commit(tmp_path) is None


def test_refuses_to_report_on_nothing(tmp_path):
    with pytest.raises(ValueError, match="no run has a result"):
        write_report([], about=make_about(), directory=tmp_path / "out")

    assert not (tmp_path / "out").exists()
