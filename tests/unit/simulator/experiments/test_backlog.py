"""Which pods a scheduler has yet to answer for."""

import pytest

from scheduler.simulator.experiments.backlog import Backlog
from scheduler.simulator.resources import EVENTS, NODES, PODS, PVS
from scheduler.simulator.store import Change


def pod(uid="a", *, node=None, phase="Pending", refused=None, **fields):
    meta = {"uid": uid, "name": uid, **fields.pop("metadata", {})}
    status = {"phase": phase}
    if refused is not None:
        status["conditions"] = [{"type": "PodScheduled", "status": "False", "message": refused}]
    spec = {"schedulerName": "ours", **fields}
    return {"metadata": meta, "spec": spec | ({"nodeName": node} if node else {}), "status": status}


def node(**spec):
    return {"metadata": {"name": "n1"}, "spec": spec, "status": {"allocatable": {"cpu": "4"}}}


def event(uid, reason="FailedScheduling"):
    return {"metadata": {"name": "e"}, "reason": reason, "regarding": {"uid": uid}}


def added(new, resource=PODS):
    return Change(resource, "ADDED", None, new)


def changed(old, new, resource=PODS):
    return Change(resource, "MODIFIED", old, new)


def deleted(old, resource=PODS):
    return Change(resource, "DELETED", old, old)


def backlog(*pods):
    return Backlog("ours", pods=pods)


def refused(**fields):
    """A backlog of one pod that was refused, and which some other is beside."""
    subject = backlog(pod(**fields))
    subject.see(added(event("a"), EVENTS))
    assert subject.is_quiet
    assert subject.n_refused == 1
    return subject


def test_nobody_waits_where_no_pod_does():
    assert backlog(pod(node="n1"), pod(phase="Failed"), pod(schedulerName="other")).is_quiet


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(changed(pod(), pod(node="n1")), id="bound"),
        pytest.param(changed(pod(), pod(refused="no room")), id="condition"),
        pytest.param(added(event("a"), EVENTS), id="event"),
        pytest.param(changed(event("a"), event("a"), EVENTS), id="event again"),
    ],
)
def test_a_pod_is_answered_for(answer):
    subject = backlog(pod())
    assert not subject.is_quiet

    subject.see(answer)

    assert subject.is_quiet
    assert subject.n_answers == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(deleted(pod()), id="deleted"),
        pytest.param(changed(pod(), pod(metadata={"deletionTimestamp": "now"})), id="going"),
        pytest.param(changed(pod(), pod(phase="Failed")), id="ended"),
    ],
)
def test_a_pod_that_goes_is_waited_for_no_more(change):
    subject = backlog(pod())

    subject.see(change)

    assert subject.is_quiet
    assert subject.n_answers == 0


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(changed(pod(), pod(metadata={"labels": {"x": "y"}})), id="another change"),
        pytest.param(added(event("b"), EVENTS), id="of another"),
        pytest.param(added(event("a", "Scheduled"), EVENTS), id="another event"),
        pytest.param(changed(pod(refused="no"), pod(refused="no")), id="old condition"),
    ],
)
def test_other_news_are_no_answer(said):
    subject = backlog(pod())

    subject.see(said)

    assert not subject.is_quiet


def test_a_gated_pod_waits_for_nobody_until_its_gates_are_gone():
    gated = pod(schedulingGates=[{"name": "later"}])
    subject = backlog()
    subject.see(added(gated))
    assert subject.is_quiet

    subject.see(changed(gated, pod()))

    assert not subject.is_quiet


RUNNING = pod("b", node="n1", phase="Running", schedulerName="other")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(deleted(RUNNING), id="a pod went"),
        pytest.param(changed(RUNNING, pod("b", node="n1", phase="Succeeded")), id="a pod ended"),
        pytest.param(added(node(), NODES), id="a node came"),
        pytest.param(changed(node(unschedulable=True), node(), NODES), id="a node opened"),
        pytest.param(added({"metadata": {"name": "pv"}}, PVS), id="a volume came"),
    ],
)
def test_what_may_make_room_asks_anew(change):
    subject = refused()

    subject.see(change)

    assert not subject.is_quiet


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(changed(pod("b"), pod("b", node="n1")), id="a pod was placed"),
        pytest.param(deleted(pod("b", node="n1", phase="Failed")), id="an ended pod was swept"),
        pytest.param(changed(node(), node() | {"status": {"allocatable": {"cpu": "4"}}}, NODES)),
        pytest.param(deleted(node(), NODES), id="a node went"),
    ],
)
def test_what_makes_no_room_asks_nothing(change):
    subject = refused()

    subject.see(change)

    assert subject.is_quiet


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"affinity": {"podAffinity": {}} | {"podAffinity": {"x": 1}}}, id="affinity"),
        pytest.param({"topologySpreadConstraints": [{"maxSkew": 1}]}, id="spread"),
        pytest.param({"metadata": {"annotations": {"pod-group": "g"}}}, id="group"),
    ],
)
def test_a_pod_that_seeks_company_is_asked_for_anew_when_others_are_placed(fields):
    subject = refused(**fields)

    subject.see(changed(pod("b"), pod("b", node="n1")))

    assert not subject.is_quiet


def test_who_says_nothing_is_given_up_until_there_is_room():
    subject = backlog(pod())
    subject.give_up()
    assert subject.is_quiet

    subject.see(deleted(RUNNING))
    assert not subject.is_quiet

    subject.see(changed(pod(), pod(node="n1")))
    assert subject.is_quiet


def test_counts_who_was_bound_and_who_was_asked_to_go():
    subject = backlog(pod())

    subject.see(changed(pod(), pod(node="n1")))
    subject.see(changed(RUNNING, RUNNING | {"metadata": {"uid": "b", "deletionTimestamp": "t"}}))
    subject.see(changed(pod("c", schedulerName="other"), pod("c", schedulerName="other", node="n")))

    assert (subject.n_moves, subject.n_answers) == (3, 1)
