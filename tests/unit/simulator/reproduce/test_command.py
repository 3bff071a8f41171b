"""``reproduce`` on the command line: what it refuses, tells and leaves behind."""

import json
import shutil
from pathlib import Path

import pytest

from scheduler.plugins.gpu.policies import POLICIES
from scheduler.simulator.__main__ import main
from scheduler.simulator.reproduce import command
from scheduler.simulator.reproduce.study import Study
from tests.unit.simulator.reproduce.makers import publish, record_orders, write_trace

DETERMINISTIC = "--policies=dot-product,gpu-clustering,gpu-packing,best-fit,fgd"
OURS = next(name for name in POLICIES if name not in command.PUBLISHED_NAMES)


@pytest.fixture
def traces(tmp_path):
    folder = tmp_path / "traces"
    folder.mkdir()
    return write_trace(folder)


@pytest.fixture(scope="module")
def published_once(tmp_path_factory):
    folder = write_trace(tmp_path_factory.mktemp("published"))
    record_orders(folder)
    publish(folder)
    return folder


@pytest.fixture
def recorded(published_once, tmp_path):
    return Path(shutil.copytree(published_once, tmp_path / "recorded"))


def reproduce(folder, *options):
    try:
        return main(["reproduce", "fgd", f"--traces={folder}", "--jobs=1", *options])
    except SystemExit as ended:
        return ended.code


def cells(text, row, *, table=0):
    """The cells of a row, of the first or second table that has it."""
    lines = [line for line in text.splitlines() if line.startswith(row + " ")]
    return lines[table].removeprefix(row).split()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        pytest.param("--policies=best", "'best' is not known; there are random, dot", id="policy"),
        pytest.param("--policies=,", "--policies: name at least one of random", id="no policy"),
        pytest.param("--variants=gpu9", "'gpu9' is not known; there are default", id="variant"),
        pytest.param("--seeds=0", "--seeds: must be 1 or more", id="no seed"),
        pytest.param("--traces=/nowhere", "/nowhere: no such folder", id="no folder"),
    ],
)
def test_wrong_options_are_refused_with_a_reason(traces, option, words, capsys):
    assert reproduce(traces, option) == 2

    assert words in capsys.readouterr().err


def test_only_known_studies_are_made_again(traces, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", "everything", f"--traces={traces}"])

    assert ended.value.code == 2
    assert "invalid choice: 'everything'" in capsys.readouterr().err


def test_a_malformed_row_is_refused_by_its_place(traces, capsys):
    with (traces / "openb_node_list_gpu_node.csv").open("a") as file:
        file.write("last,many,1,1,T4\n")

    assert reproduce(traces) == 2

    assert "openb_node_list_gpu_node.csv:62: column cpu_milli" in capsys.readouterr().err


def test_the_same_runs_as_published_are_within_rounding(recorded, capsys):
    assert reproduce(recorded, DETERMINISTIC, "--seeds=2") == 0

    text = capsys.readouterr().out
    assert cells(text, "default fgd")[:2] == ["2", "recorded"]
    assert cells(text, "default fgd")[4] == "+0.00"
    assert text.splitlines()[-1] == "worst difference 0.005 points"


def test_a_run_that_is_off_anywhere_is_told_and_fails(traces, capsys):
    record_orders(traces)
    publish(traces, off_by=0.2)

    assert reproduce(traces, DETERMINISTIC, "--seeds=2") == 1

    text = capsys.readouterr().out
    assert cells(text, "default best-fit")[4] == "+0.00"  # at load 100
    assert "farther off than 0.1 points" in text
    assert text.splitlines()[-1].startswith("worst difference 0.20")


def test_luck_is_compared_in_the_mean(recorded, capsys):
    assert reproduce(recorded, "--policies=random,fgd", "--seeds=2") in {0, 1}

    text = capsys.readouterr().out
    assert cells(text, "default random")[-1].endswith("*")
    assert "worst difference of means" in text.splitlines()[-2]
    assert text.splitlines()[-1].startswith("worst difference 0.00")


def test_without_recorded_orders_means_are_compared(traces, capsys):
    publish(traces)  # of the orders that are drawn again now

    assert reproduce(traces, "--policies=best-fit", "--seeds=2") == 0

    text = capsys.readouterr().out
    assert cells(text, "default best-fit")[:2] == ["2", "drawn"]
    assert "no order of arrival is recorded" in text
    assert text.splitlines()[-1].startswith("worst difference 0.00")


def test_without_published_results_only_ours_are_told(traces, capsys):
    assert reproduce(traces, "--policies=best-fit", "--seeds=1") == 0

    text = capsys.readouterr().out
    assert cells(text, "default best-fit")[3:5] == ["-", "-"]
    assert text.splitlines()[-1] == "nothing published to compare with"


def test_variants_are_those_of_the_folder(traces, capsys):
    write_trace(traces, variants=("hidden",), has_tail=False)

    assert reproduce(traces, "--policies=best-fit", "--seeds=1") == 0

    text = capsys.readouterr().out
    assert cells(text, "default best-fit")
    assert cells(text, "hidden best-fit")


def test_ours_is_paired_with_fgd_on_as_many_seeds_as_asked(recorded, capsys):
    assert reproduce(recorded, f"--policies=best-fit,fgd,{OURS}", "--seeds=3") == 0

    text = capsys.readouterr()
    assert text.err.count(" fgd: ") == text.err.count(f" {OURS}: ") == 3
    assert text.err.count(" best-fit: ") == 2
    assert cells(text.out, "default fgd")[:2] == ["2", "recorded"]
    assert "3 (2 recorded)" in text.out
    assert "fewer orders of arrival than the 3 asked for" in text.out


def test_writes_a_report(recorded, tmp_path, capsys):
    out = tmp_path / "made" / "here"

    assert reproduce(recorded, f"--policies=fgd,{OURS}", "--seeds=2", f"--out={out}") == 0

    assert capsys.readouterr().out.splitlines()[-1].startswith("worst difference")
    found = json.loads((out / "results.json").read_text())
    assert found["schema_version"] == 1
    assert found["is_complete"]
    assert len(found["runs"]) == 4
    assert len(found["runs"][0]["allocated"]) == 131
    assert found["rows"][0]["worst_run_difference"] < 0.01
    assert [gain["policy"] for gain in found["gains"]] == [OURS]
    report = (out / "report.md").read_text()
    assert "| default fgd | 2 recorded |" in report
    for picture in ("curves-default.png", "placement-default.png"):
        assert f"({picture})" in report
        assert (out / picture).read_bytes().startswith(b"\x89PNG")


def test_says_that_plots_need_matplotlib(recorded, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None)

    assert reproduce(recorded, "--policies=fgd", "--seeds=1", f"--out={tmp_path / 'out'}") == 0

    assert "matplotlib is not installed" in (tmp_path / "out" / "report.md").read_text()


def test_an_interrupt_leaves_a_partial_report(recorded, tmp_path, monkeypatch, capsys):
    run = Study.run

    def interrupted(study, policy, *, seed):
        if policy == "fgd":
            raise KeyboardInterrupt
        return run(study, policy, seed=seed)

    monkeypatch.setattr(Study, "run", interrupted)
    out = tmp_path / "out"

    assert reproduce(recorded, "--policies=best-fit,fgd", "--seeds=2", f"--out={out}") == 130

    assert "interrupted: 2 of 4 runs are told of" in capsys.readouterr().out
    found = json.loads((out / "results.json").read_text())
    assert not found["is_complete"]
    assert [run["policy"] for run in found["runs"]] == ["best-fit", "best-fit"]
    assert "interrupted" in (out / "report.md").read_text()


def test_an_interrupt_before_the_first_result_leaves_none(recorded, monkeypatch):
    def interrupted(study, policy, *, seed):
        raise KeyboardInterrupt

    monkeypatch.setattr(Study, "run", interrupted)

    assert reproduce(recorded, "--policies=fgd") == 130


def test_processes_come_to_the_same(recorded, capsys):
    assert reproduce(recorded, "--policies=fgd", "--seeds=2") == 0
    alone = capsys.readouterr().out
    assert reproduce(recorded, "--policies=fgd", "--seeds=2", "--jobs=2") == 0

    assert capsys.readouterr().out == alone


def test_a_report_needs_a_folder(recorded, tmp_path, capsys):
    (tmp_path / "file").touch()

    assert reproduce(recorded, f"--out={tmp_path / 'file' / 'below'}") == 2

    assert "--out: cannot make" in capsys.readouterr().err
