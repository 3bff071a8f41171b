"""A decision in words: ``python -m scheduler explain``."""

import io

import msgspec
import pytest

from scheduler.contract import DecisionAnswer, view
from scheduler.events import PodSeen, Predicted
from scheduler.explain import explanation, run
from scheduler.model import Taint
from tests.unit.scheduler.worlds import (
    decide,
    decisions,
    feed,
    make_answer,
    make_engine,
    make_facts,
    make_pending,
)

SICK = Taint("sick", "", "NoSchedule")


def explained(decision):
    # Through JSON, as from a running scheduler.
    return explanation(
        msgspec.json.decode(msgspec.json.encode(view(decision)), type=DecisionAnswer)
    )


def test_a_choice_by_prediction_with_runner_up_scores_and_refusals():
    sick, small = make_facts("n3", taints=(SICK,)), make_facts("n4", cpu_milli=100)
    engine = make_engine("n1", "n2", sick, small, predicts=True)
    pod = make_pending()
    feed(engine, [PodSeen(pod)])
    engine.handle(Predicted(make_answer([pod.shape], {"n1": 0.2, "n2": 0.9})), now_s=0.0)
    [decision] = decisions(decide(engine, now_s=2.5))

    text = explained(decision)

    assert text.splitlines() == [
        "default/web-1 -> n2",
        "decided 1970-01-01 00:00:02 UTC, 2.5 s after it was first seen; attempt 1,"
        " profile ai-scheduler",
        f"2 of 4 nodes would do; next best: n1, {decision.margin} points behind",
        decision.prediction.words,
        "",
        "NODE  TOTAL  NodePrediction",
        f"n2    {decision.scores.totals[0]:5}             540",
        f"n1    {decision.scores.totals[1]:5}             120",
        *[line for line in text.splitlines() if line.startswith("the same for all of these: ")],
        "",
        "REFUSED  BY                CODE                          WHY",
        "n3       TaintToleration   UnschedulableAndUnresolvable  node(s) had untolerated taint(s)",
        "n4       NodeResourcesFit  UnschedulableAndUnresolvable  Insufficient cpu",
    ]
    assert "TaintToleration 300" in text


def test_a_pod_without_a_node_and_what_is_done_about_it():
    squatter = make_pending("squatter", cpu_milli=3900, node_name="n1")
    engine = make_engine("n1")
    [decision] = decisions(
        feed(engine, [PodSeen(squatter), PodSeen(make_pending("vip", priority=9))])
    )

    lines = explained(decision).splitlines()

    assert lines[0] == "default/vip -> no node"
    assert lines[2].startswith("0/1 nodes are available: 1 Insufficient cpu.")
    assert "nominated: n1, where room is being made" in lines
    assert "evicted for it: default/squatter" in lines
    assert "0 of 1 nodes would do" in lines


def test_the_only_node_that_would_do():
    [decision] = decisions(feed(make_engine("n1"), [PodSeen(make_pending())]))

    assert "1 of 1 nodes would do; there was nothing to choose" in explained(decision)


def test_says_how_many_it_does_not_name():
    small = [make_facts(f"small-{i}", cpu_milli=1) for i in range(5)]
    engine = make_engine("n1", "n2", "n3", *small, n_recorded_nodes=2)
    [decision] = decisions(feed(engine, [PodSeen(make_pending())]))

    text = explained(decision)

    assert text.count("... and 1 more") == 1
    assert text.count("... and 3 more") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["web-1"],
        ["default/"],
        ["/web-1"],
        ["a/b/c"],
        ["default/web-1", "--url", "ftp://here"],
        ["default/web-1", "--colour"],
    ],
)
def test_wrong_arguments_end_it_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        run(arguments, out=io.StringIO(), err=io.StringIO())

    assert ended.value.code == 2
    assert "usage: python -m scheduler explain" in capsys.readouterr().err
