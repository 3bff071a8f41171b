"""The conformance command notices each kind of difference, and says what is wrong with a file."""

import gzip
import io
import json

import pytest

from scheduler.__main__ import main
from scheduler.conformance.command import AGREES, DISAGREES, UNUSABLE, run

SUCCESS = {"code": "Success"}
FULL = {
    "code": "Unschedulable",
    "plugin": "NodeResourcesFit",
    "reasons": ["Insufficient cpu"],
}


def node(name, *, cpu="2", **metadata):
    allocatable = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
    return {"metadata": {"name": name, **metadata}, "status": {"allocatable": allocatable}}


def pod(name, *, on="", cpu="1", priority=0):
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": name}},
        "spec": {
            "nodeName": on,
            "priority": priority,
            "containers": [
                {"name": "app", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}
            ],
        },
        "status": {"startTime": "2026-01-01T00:00:00Z"} if on else {},
    }


def placed(**changes):
    """A pod that fits on either of two nodes, of which the first is emptier."""
    scores = {
        "a": {"NodeResourcesFit": 68, "NodeResourcesBalancedAllocation": 65, "total": 433},
        "b": {"NodeResourcesFit": 50, "NodeResourcesBalancedAllocation": 66, "total": 416},
    }
    for each in scores.values():
        each["TaintToleration"] = 300
    scenario = {
        "id": "placed-0",
        "family": "placed",
        "nodes": [node("a"), node("b")],
        "pods": [pod("small", on="b", cpu="500m")],
        "pod": pod("incoming"),
        "expected": {"statuses": {"a": SUCCESS, "b": SUCCESS}, "scores": scores},
    }
    return {**scenario, **changes}


def crowded(*, nominated, victims):
    """Two full nodes; it makes no difference which of them is emptied."""
    low = [pod(f"low-{name}", on=name, cpu="2") for name in "ab"]
    return {
        "id": "crowded-0",
        "family": "crowded",
        "nodes": [node("a"), node("b")],
        "pods": low,
        "pod": pod("incoming", cpu="2", priority=100),
        "expected": {
            "statuses": {"a": FULL, "b": FULL},
            "message": "0/2 nodes are available: 2 Insufficient cpu.",
            "nominated": nominated,
            "victims": victims,
        },
    }


@pytest.fixture
def check(tmp_path):
    """Run the command over lines; give exit code and what it printed."""

    def run_over(*lines, name="recorded.jsonl"):
        path = tmp_path / name
        text = "".join(each if isinstance(each, str) else json.dumps(each) + "\n" for each in lines)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        out, err = io.StringIO(), io.StringIO()
        code = run([str(path)], out=out, err=err)
        return code, out.getvalue() + err.getvalue()

    return run_over


@pytest.mark.parametrize("name", ["recorded.jsonl", "recorded.jsonl.gz"])
def test_counts_what_agrees_by_family(check, name):
    code, text = check(placed(), placed(id="placed-1"), name=name)

    assert code == AGREES
    assert text == "placed: 2 of 2\nagree 2 of 2\n"


def test_is_a_command_of_the_scheduler(tmp_path, capsys):
    path = tmp_path / "recorded.jsonl"
    path.write_text(json.dumps(placed()))

    code = main(["conformance", str(path)], env={})

    assert code == AGREES
    assert capsys.readouterr().out.endswith("agree 1 of 1\n")


def changed(**expected):
    scenario = placed()
    return {**scenario, "expected": {**scenario["expected"], **expected}}


@pytest.mark.parametrize(
    ("scenario", "line"),
    [
        pytest.param(
            changed(statuses={"a": SUCCESS, "b": FULL}),
            "b: ('Success', ''), recorded: ('Unschedulable', 'NodeResourcesFit', ",
            id="status",
        ),
        pytest.param(
            changed(scores={**placed()["expected"]["scores"], "a": {"total": 1}}),
            "a: total: 433, recorded: 1",
            id="score",
        ),
        pytest.param(
            {**crowded(nominated="a", victims=["default/other"]), "family": "placed"},
            "preemption: ",
            id="victims",
        ),
        pytest.param(
            {**crowded(nominated="", victims=[]), "family": "placed"},
            "preemption: ",
            id="no nomination",
        ),
    ],
)
def test_names_what_differs(check, scenario, line):
    code, text = check(placed(), scenario)

    assert code == DISAGREES
    assert line in text
    assert text.startswith("placed: 1 of 2\n")
    assert text.endswith("agree 1 of 2\n")


@pytest.mark.parametrize("chosen", ["a", "b"])
def test_any_of_the_equally_good_nodes_may_be_emptied(check, chosen):
    code, _ = check(crowded(nominated=chosen, victims=[f"default/low-{chosen}"]))

    assert code == AGREES


@pytest.mark.parametrize(
    ("phase", "nominated", "status"),
    [
        pytest.param("Pending", "a", FULL, id="a nominated pod is left room"),
        pytest.param("Pending", "", SUCCESS, id="one that waits is not"),
        pytest.param("Failed", "a", SUCCESS, id="nor one that is over"),
    ],
)
def test_pods_without_a_node_count_where_they_were_promised_one(check, phase, nominated, status):
    waiting = pod("waiting", cpu="2", priority=100)
    waiting["status"] = {"phase": phase, "nominatedNodeName": nominated}
    scenario = placed(pods=[*placed()["pods"], waiting])
    scenario["expected"]["statuses"] = {"a": status, "b": SUCCESS}

    _, text = check(scenario)

    assert "a: ('" not in text


def without(field):
    return {key: value for key, value in placed().items() if key != field}


@pytest.mark.parametrize(
    ("second", "words"),
    [
        pytest.param("{", ":2: no scenario: Input data was truncated", id="no JSON"),
        pytest.param("\n", ":2: no scenario: Input data was truncated", id="empty line"),
        pytest.param("[" * 100_000, ":2: no scenario: ", id="too deep"),
        pytest.param(without("nodes"), ":2: no scenario: Object missing required field `nodes`"),
        pytest.param(placed(nodes=[1]), "at `$.nodes[0]`", id="no node"),
        pytest.param(
            placed(nodes=[node("a", cpu="much")]), ":2: no scenario: nodes[0]: ", id="no amount"
        ),
        pytest.param(
            placed(nodes=[node("a"), node("a")]),
            "nodes[1].metadata.name is given twice",
            id="two nodes of a name",
        ),
        pytest.param(placed(nodes=[node("")]), "nodes[0].metadata.name is missing", id="no name"),
        pytest.param(
            changed(statuses={"a": {"code": "Maybe"}}), "at `$.expected.statuses[...].code`"
        ),
    ],
)
def test_a_line_that_is_no_scenario_is_named(check, second, words):
    code, text = check(placed(), second)

    assert code == UNUSABLE
    assert words in text
    assert "recorded.jsonl:2" in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("absent.jsonl", "No such file or directory", id="no file"),
        pytest.param("bytes.jsonl", "can't decode byte", id="no text"),
        pytest.param("empty.jsonl", "holds no scenario", id="empty"),
        pytest.param("plain.jsonl.gz", "Not a gzipped file", id="not compressed"),
        pytest.param("cut.jsonl.gz", "ended before the end", id="cut off"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path, name, words):
    (tmp_path / "bytes.jsonl").write_bytes(b'{"id": "\xff"}')
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "plain.jsonl.gz").write_text("{}")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(json.dumps(placed()).encode())[:-20])
    err = io.StringIO()

    code = run([str(tmp_path / name)], out=io.StringIO(), err=err)

    assert code == UNUSABLE
    assert f"{name}:" in err.getvalue()
    assert words in err.getvalue()
