"""Which pods a scheduler has yet to answer for."""

import pytest

from scheduler.simulator.experiments.backlog import Backlog
from scheduler.simulator.experiments.policies import policy_of
from scheduler.simulator.experiments.rules import Rules
from scheduler.simulator.resources import EVENTS, NODES, PODS, PVS
from scheduler.simulator.store import Change


def pod(uid="a", *, node=None, phase="Pending", refused=None, cpu="1", **fields):
    meta = {"uid": uid, "name": uid, "namespace": "default", **fields.pop("metadata", {})}
    status = {"phase": phase}
    if refused is not None:
        status["conditions"] = [{"type": "PodScheduled", "status": "False", "message": refused}]
    containers = [{"name": "app", "resources": {"requests": {"cpu": cpu}}}]
    spec = {"schedulerName": "ours", "containers": containers, **fields}
    return {"metadata": meta, "spec": spec | ({"nodeName": node} if node else {}), "status": status}


def node(name="n1", *, cpu="4", **spec):
    status = {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"}}
    meta = {"name": name, "labels": {"kubernetes.io/hostname": name}}
    return {"metadata": meta, "spec": spec, "status": status}


def event(uid, reason="FailedScheduling"):
    return {"metadata": {"name": "e"}, "reason": reason, "regarding": {"uid": uid}}


def added(new, resource=PODS):
    return Change(resource, "ADDED", None, new)


def changed(old, new, resource=PODS):
    return Change(resource, "MODIFIED", old, new)


def deleted(old, resource=PODS):
    return Change(resource, "DELETED", old, old)


def backlog(*pods, nodes=()):
    rules = Rules(policy_of("kube-default").profiles()["ai-scheduler"])
    return Backlog("ours", rules=rules, nodes=nodes or (node(),), pods=pods)


def refused(*others, **fields):
    """A backlog of one pod that was refused, on a node with others."""
    subject = backlog(pod(**fields), *others)
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


RUNNING = pod("b", node="n1", phase="Running", schedulerName="other", cpu="3500m")
TAINT = {"key": "gpu", "effect": "NoSchedule"}
VOLUME = {"metadata": {"name": "pv"}}
CLAIM = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(deleted(RUNNING), id="a pod went"),
        pytest.param(changed(RUNNING, pod("b", node="n1", phase="Succeeded")), id="a pod ended"),
        pytest.param(added(node("n2"), NODES), id="a node came"),
        pytest.param(changed(node(unschedulable=True), node(cpu="8"), NODES), id="a node grew"),
    ],
)
def test_what_may_make_room_asks_anew(change):
    subject = refused(RUNNING)

    subject.see(change)

    assert not subject.is_quiet


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(changed(pod("c"), pod("c", node="n1", cpu="100m")), id="a pod was placed"),
        pytest.param(deleted(pod("c", node="n1", phase="Failed")), id="an ended pod was swept"),
        pytest.param(changed(node(), node(), NODES), id="a heartbeat"),
        pytest.param(added(node("n2", cpu="100m"), NODES), id="a node that is too small"),
        pytest.param(deleted(node(), NODES), id="a node went"),
        pytest.param(added(node("n2", taints=[TAINT]), NODES), id="a node that is tainted"),
        pytest.param(added(VOLUME, PVS), id="a volume"),
    ],
)
def test_what_makes_no_room_for_it_asks_nothing(change):
    subject = refused(RUNNING)

    subject.see(change)

    assert subject.is_quiet


def test_room_that_others_take_is_waited_for_no_more():
    subject = backlog(RUNNING, *(pod(uid, cpu="2") for uid in "acd"))
    for uid in "acd":
        subject.see(added(event(uid), EVENTS))
    subject.see(deleted(RUNNING))
    assert subject.n_refused == 0

    subject.see(changed(pod("a", cpu="2"), pod("a", cpu="2", node="n1")))
    assert not subject.is_quiet

    subject.see(changed(pod("c", cpu="2"), pod("c", cpu="2", node="n1")))
    assert subject.is_quiet
    assert subject.n_refused == 1


def test_word_of_refusal_is_no_answer_while_there_is_room():
    subject = refused(RUNNING)
    subject.see(deleted(RUNNING))

    subject.see(changed(event("a"), event("a"), EVENTS))

    assert not subject.is_quiet


NEAR_DB = {
    "affinity": {
        "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {"matchLabels": {"app": "db"}},
                }
            ]
        }
    }
}


def db(**fields):
    return pod("c", metadata={"labels": {"app": "db"}}, **fields)


def test_a_pod_is_asked_for_when_those_come_that_it_wants_to_be_near():
    subject = refused(**NEAR_DB)

    subject.see(added(pod("b", node="n1")))
    assert subject.is_quiet

    subject.see(changed(db(), db(node="n1")))
    assert not subject.is_quiet


@pytest.mark.parametrize(
    ("fields", "change"),
    [
        pytest.param(
            {"metadata": {"annotations": {"pod-group": "g"}}},
            changed(pod("c"), pod("c", node="n1")),
            id="group",
        ),
        pytest.param({"volumes": [CLAIM]}, added(VOLUME, PVS), id="volume"),
        pytest.param({"priority": 10}, deleted(pod("b", node="n1", cpu="4")), id="may preempt"),
    ],
)
def test_a_pod_that_waits_for_more_than_room_is_asked_for_whatever_room_there_is(fields, change):
    subject = refused(pod("b", node="n1", cpu="4"), pod("d", node="n1", cpu="4"), **fields)

    subject.see(change)
    assert not subject.is_quiet

    subject.see(changed(pod(**fields), pod(refused="no", **fields)))  # late word of the refusal
    assert not subject.is_quiet

    subject.see(changed(event("a"), event("a"), EVENTS))
    assert subject.is_quiet


def test_who_says_nothing_is_given_up_until_there_is_room():
    subject = backlog(pod(), RUNNING)
    subject.give_up()
    assert subject.is_quiet

    subject.see(deleted(RUNNING))
    assert not subject.is_quiet

    subject.see(changed(pod(), pod(node="n1")))
    assert subject.is_quiet


def test_counts_who_was_bound_and_who_was_asked_to_go():
    subject = backlog(pod(), RUNNING)
    going = RUNNING | {"metadata": RUNNING["metadata"] | {"deletionTimestamp": "t"}}
    other = pod("c", schedulerName="other")

    subject.see(changed(pod(), pod(node="n1")))
    subject.see(changed(RUNNING, going))
    subject.see(changed(other, other | {"spec": other["spec"] | {"nodeName": "n1"}}))

    assert (subject.n_moves, subject.n_answers) == (3, 1)
