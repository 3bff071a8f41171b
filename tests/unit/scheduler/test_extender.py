"""As kube-scheduler's extender: upstream's wire types, and our verdicts in them."""

import json

import pytest

from scheduler.events import PodSeen
from scheduler.extender.answers import filter_nodes, rate_nodes, trim_victims
from scheduler.extender.reading import read_args, read_binding, read_preemption
from scheduler.extender.wire import BadQuestionError, HostPriority, encode
from scheduler.framework.nominations import Nominations
from scheduler.framework.standing import Standings
from scheduler.model import QueueState, Taint
from scheduler.predictions import PredictionBook, PredictionSettings
from scheduler.selection import Cycle
from tests.builders import make_node, make_pod, to_wire
from tests.unit.scheduler.worlds import (
    make_answer,
    make_engine,
    make_facts,
    make_pending,
    make_profile,
    make_snapshot,
)

POD = make_pod(requests={"cpu": "1"}, scheduler_name="default-scheduler")
SICK = Taint("sick", "", "NoSchedule")


def make_cycle(snapshot, *, nominations=None):
    profile = make_profile()
    return Cycle(
        profile=profile,
        book=PredictionBook(PredictionSettings()),
        snapshot=snapshot,
        standings=Standings(profile),
        nominations=nominations or Nominations(),
        waiting=QueueState(0, 0, 0),
        seed=0,
        n_recorded_nodes=10,
    )


def body(**fields):
    return json.dumps({name: to_wire_or_same(value) for name, value in fields.items()}).encode()


def to_wire_or_same(value):
    return to_wire(value) if hasattr(value, "__struct_fields__") else value


def node_list(*nodes):
    return {"metadata": {"resourceVersion": "7"}, "items": [to_wire(node) for node in nodes]}


def asked(*names, pod=POD):
    return read_args(body(pod=pod, nodenames=list(names)))


def filtered(cycle, args):
    return json.loads(
        encode(
            filter_nodes(cycle, pod=args.pod, candidates=args.candidates),
            in_go_case=args.in_go_case,
        )
    )


def rated(cycle, args, *, now_s=0.0):
    ratings = rate_nodes(cycle, pod=args.pod, candidates=args.candidates, now_s=now_s)
    return {each.host: each.score for each in ratings}


def trimmed(snapshot, question):
    args = read_preemption(question)
    answer = trim_victims(snapshot, victims=args.victims.items())
    return json.loads(encode(answer, in_go_case=args.in_go_case))


# ------------------------------------------------------------------------------------------ filter


def test_says_which_nodes_would_do_and_which_no_eviction_would_help():
    snapshot = make_snapshot(
        make_facts("n1"), make_facts("n2", cpu_milli=500), make_facts("n3", taints=(SICK,))
    )

    answer = filtered(make_cycle(snapshot), asked("n3", "n2", "n1", "n4"))

    assert answer == {
        "nodes": None,
        "nodenames": ["n1"],
        "failedNodes": {},
        "failedAndUnresolvableNodes": {
            "n2": "Insufficient cpu",
            "n3": "node(s) had untolerated taint(s)",
            "n4": "node(s) not known to the extender yet",
        },
        "error": "",
    }


def test_room_that_evictions_could_make_is_told_apart():
    squatter = make_pending("squatter", cpu_milli=3500)
    snapshot = make_snapshot(make_facts("n1"), pods=[(squatter, "n1")])

    answer = filtered(make_cycle(snapshot), asked("n1"))

    assert answer["failedNodes"] == {"n1": "Insufficient cpu"}
    assert answer["failedAndUnresolvableNodes"] == {}


def test_counts_room_that_was_promised_to_pods_of_ours():
    nominations = Nominations()
    nominations.put(make_pending("promised", cpu_milli=3500, priority=9), node="n1")
    cycle = make_cycle(make_snapshot(make_facts("n1")), nominations=nominations)

    assert filtered(cycle, asked("n1"))["nodenames"] == []


def test_nodes_are_handed_back_untouched_with_all_that_we_do_not_read():
    nodes = node_list(make_node("n1"), make_node("n2", cpu="500m"))
    nodes["items"][0]["status"]["ours"] = {"unknown": [1.5, None]}
    snapshot = make_snapshot(make_facts("n1"), make_facts("n2", cpu_milli=500))

    answer = filtered(make_cycle(snapshot), read_args(body(pod=POD, nodes=nodes)))

    assert answer["nodes"] == {**nodes, "items": [nodes["items"][0]]}
    assert answer["nodenames"] is None


def test_a_whole_node_that_the_watch_has_not_shown_takes_part_and_leaves_no_trace():
    snapshot = make_snapshot(make_facts("n1"))
    nodes = node_list(make_node("new"), make_node("small", cpu="500m"), make_node("n1"))

    answer = filtered(make_cycle(snapshot), read_args(body(pod=POD, nodes=nodes)))

    assert [item["metadata"]["name"] for item in answer["nodes"]["items"]] == ["new", "n1"]
    assert snapshot.names == ["n1"]
    assert list(snapshot.allocatable["cpu"]) == [4000]


def test_a_new_node_that_makes_no_sense_is_refused_by_name_and_leaves_no_trace():
    snapshot = make_snapshot(make_facts("n1"))
    nodes = node_list(make_node("new"), make_node("odd", cpu="lots"))
    args = read_args(body(pod=POD, nodes=nodes))

    with pytest.raises(BadQuestionError) as refused:
        filter_nodes(make_cycle(snapshot), pod=args.pod, candidates=args.candidates)

    assert refused.value.field == "nodes.items.odd"
    assert snapshot.names == ["n1"]


def test_answers_in_the_case_of_the_question():
    snapshot = make_snapshot(make_facts("n1"))
    question = {"Pod": to_wire(POD), "Nodes": None, "NodeNames": ["n1"]}
    args = read_args(json.dumps(question).encode())

    answer = filtered(make_cycle(snapshot), args)

    assert answer == {
        "Nodes": None,
        "NodeNames": ["n1"],
        "FailedNodes": {},
        "FailedAndUnresolvableNodes": {},
        "Error": "",
    }
    assert encode([HostPriority(host="n1", score=3)], in_go_case=True) == (
        b'[{"Host":"n1","Score":3}]'
    )


def test_reads_a_pod_as_go_writes_it():
    pod = {
        "metadata": {"name": "web-1", "namespace": "default", "creationTimestamp": None},
        "spec": {"containers": None, "resources": None},
        "status": {},
    }

    args = read_args(json.dumps({"Pod": pod, "NodeNames": []}).encode())

    assert args.pod.key == "default/web-1"


# -------------------------------------------------------------------------------------- prioritize


def test_rates_nodes_from_0_to_10():
    busy = make_pending("busy", cpu_milli=3000, memory_bytes=6 * 2**30)
    nodes = [make_facts("n1"), make_facts("n2"), make_facts("n3", taints=(SICK,))]
    snapshot = make_snapshot(*nodes, pods=[(busy, "n1")])

    scores = rated(make_cycle(snapshot), asked("n1", "n2", "n3", "n4"))

    assert 0 < scores["n1"] < scores["n2"] <= 10
    assert (scores["n3"], scores["n4"]) == (0, 5)


def test_what_the_predictor_says_counts():
    cycle = make_engine("n1", "n2", predicts=True).cycle("ai-scheduler")
    args = asked("n1", "n2")
    before = rated(cycle, args)
    cycle.book.take(make_answer([args.pod.shape], {"n1": 0.0, "n2": 1.0}), now_s=0.0)

    after = rated(cycle, args)

    assert before["n1"] == before["n2"]
    assert after["n1"] < before["n1"] <= after["n2"]


def test_a_prediction_that_is_too_old_has_no_part():
    cycle = make_engine("n1", "n2", predicts=True).cycle("ai-scheduler")
    args = asked("n1", "n2")
    cycle.book.take(make_answer([args.pod.shape], {"n1": 0.0, "n2": 1.0}), now_s=0.0)

    scores = rated(cycle, args, now_s=31.0)

    assert scores["n1"] == scores["n2"]


def test_what_kube_scheduler_placed_since_counts_against_the_prediction():
    engine = make_engine("n1", "n2", predicts=True)
    cycle, args = engine.cycle("ai-scheduler"), asked("n1", "n2")
    cycle.book.take(make_answer([args.pod.shape], {"n1": 0.8, "n2": 0.9}), now_s=0.0)
    advised = make_pending("advised", cpu_milli=2000, node_name="n2", scheduler_name="default")
    settled = make_pending("settled", cpu_milli=2000, node_name="n1", start_time_s=1.0)
    for pod in (advised, settled):
        engine.handle(PodSeen(pod), now_s=1.0)

    scores = cycle.book.scores(args.pod.shape, snapshot=cycle.snapshot)

    assert scores.unseen_ratio.tolist() == [0.0, 0.5]


# ----------------------------------------------------------------------------------------- preempt


def gang_member(name, **more):
    return make_pending(name, pod_group="ring", **more)


def test_a_node_where_a_gang_would_be_torn_is_dropped():
    pods = [(gang_member("a"), "n1"), (gang_member("b"), "n2"), (make_pending("c"), "n2")]
    snapshot = make_snapshot(make_facts("n1"), make_facts("n2"), make_facts("n3"), pods=pods)
    victims = {
        "n1": {"pods": [{"uid": "uid-of-a"}], "numPDBViolations": 2},
        "n2": {"pods": [{"uid": "uid-of-c"}], "numPDBViolations": 1},
        "n3": {"pods": [{"uid": "nobody-we-know"}]},
    }

    answer = trimmed(snapshot, body(pod=POD, nodeNameToMetaVictims=victims))

    assert answer == {
        "nodeNameToMetaVictims": {
            "n2": victims["n2"],
            "n3": {**victims["n3"], "numPDBViolations": 0},
        }
    }


def test_a_gang_that_would_go_whole_may_be_preempted():
    leaving = gang_member("left", is_terminating=True)
    pods = [(gang_member("a"), "n1"), (gang_member("b"), "n1"), (leaving, "n2")]
    snapshot = make_snapshot(make_facts("n1"), make_facts("n2"), pods=pods)
    victims = {"n1": {"Pods": [{"UID": "uid-of-a"}, {"UID": "uid-of-b"}], "NumPDBViolations": 0}}

    answer = trimmed(snapshot, body(Pod=POD, NodeNameToMetaVictims=victims, NodeNameToVictims=None))

    assert answer == {"NodeNameToMetaVictims": victims}


def test_whole_victims_are_answered_by_uid():
    member = make_pod("a", group="ring", node="n1")
    pods = [(gang_member("b"), "n2")]
    snapshot = make_snapshot(make_facts("n1"), make_facts("n2"), pods=pods)
    victims = {
        "n1": {"Pods": [to_wire(member)], "NumPDBViolations": 0},
        "n2": {"Pods": [to_wire(make_pod("c"))], "NumPDBViolations": 1},
        "n3": {"Pods": None, "NumPDBViolations": 0},
    }

    answer = trimmed(snapshot, body(Pod=POD, NodeNameToVictims=victims))

    # The watch has not shown the member on n1, but the question says that it is one.
    assert answer["NodeNameToMetaVictims"] == {
        "n2": {"Pods": [{"UID": "uid-of-default/c"}], "NumPDBViolations": 1},
        "n3": {"Pods": [], "NumPDBViolations": 0},
    }


# --------------------------------------------------------------------------------------------- bad


def test_reads_a_binding():
    args = read_binding(body(PodName="web-1", PodNamespace="default", PodUID="u-1", Node="n1"))

    assert (args.pod.key, args.pod.uid, args.node) == ("default/web-1", "u-1", "n1")


PLAIN = to_wire(POD)


@pytest.mark.parametrize(
    ("read", "question", "field"),
    [
        (read_args, {"nodenames": []}, "pod"),
        (read_args, {"pod": None, "nodenames": []}, "pod"),
        (read_args, {"pod": {"metadata": {}}, "nodenames": []}, "pod.metadata.name"),
        (read_args, {"pod": PLAIN}, "nodes"),
        (read_args, {"pod": PLAIN, "nodes": {"items": []}, "nodenames": []}, "nodes"),
        (read_args, {"pod": PLAIN, "nodenames": "n1"}, "nodenames"),
        (read_args, {"pod": PLAIN, "nodenames": ["n1", "n1"]}, "nodenames"),
        (read_args, {"pod": PLAIN, "nodes": {"items": [{}]}}, "nodes.items[0]"),
        (read_args, {"pod": PLAIN, "nodes": {"items": 3}}, "nodes.items"),
        (
            read_args,
            {"pod": {**PLAIN, "spec": {"overhead": {"cpu": "?"}}}, "nodes": {}},
            "pod.spec",
        ),
        (read_preemption, {"pod": PLAIN}, "nodeNameToVictims"),
        (
            read_preemption,
            {"pod": PLAIN, "nodeNameToMetaVictims": {"n1": {"pods": [{}]}}},
            "nodeNameToMetaVictims.n1.pods[0].uid",
        ),
        (
            read_preemption,
            {"pod": PLAIN, "nodeNameToVictims": {"n1": {"pods": [{"metadata": {"name": "a"}}]}}},
            "nodeNameToVictims.n1.pods[0].metadata.uid",
        ),
        (read_binding, {"podName": "a", "podNamespace": "b", "node": "n1"}, "podUID"),
        (
            read_binding,
            {"podName": "", "podNamespace": "b", "podUID": "u", "node": "n1"},
            "podName",
        ),
        (read_binding, [], ""),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_by_field(read, question, field):
    with pytest.raises(BadQuestionError) as refused:
        read(json.dumps(question).encode())

    assert refused.value.field == field


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b'{"pod":' + b"[" * 100_000])
def test_no_json_is_no_question(text):
    with pytest.raises(BadQuestionError):
        read_args(text)
