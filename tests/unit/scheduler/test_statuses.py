"""What is said of groups and quotas, and how far a group has come."""

import msgspec
import pytest

from kube.custom import ElasticQuotaStatus, PodGroup, PodGroupSpec, PodGroupStatus
from kube.informer import Added, Deleted, Modified, Synced
from scheduler.cluster.group_status import Member, next_status, read_member
from scheduler.cluster.grouped_pods import GroupedPods
from scheduler.cluster.quota_status import next_quota_status, quota_usage
from scheduler.model import POD_GROUP_LABEL
from tests.builders import EPOCH_S, at, make_meta, make_pod
from tests.unit.scheduler.quota_worlds import make_quota, pod_of
from tests.unit.scheduler.worlds import make_facts, make_snapshot

HOUR_S = 3600.0


def group(phase="", *, n=3, **status):
    return PodGroup(
        metadata=make_meta("gang", namespace="team", creation_timestamp=at(0)),
        spec=PodGroupSpec(min_member=n),
        status=PodGroupStatus(phase=phase, **status),
    )


def members(phases):
    names = {"p": "Pending", "r": "Running", "s": "Succeeded", "f": "Failed"}
    return {str(i): Member(names[each], ("team/job",)) for i, each in enumerate(phases)}


@pytest.mark.parametrize(
    ("phase", "pods", "then"),
    [
        pytest.param("", "", "Pending", id="nobody is there"),
        pytest.param("Pending", "pp", "Pending", id="one is missing"),
        pytest.param("", "ppp", "Scheduling", id="all are there"),
        pytest.param("Scheduling", "rrp", "Scheduling", id="one is not running"),
        pytest.param("Scheduling", "rrr", "Running", id="all run"),
        pytest.param("Pending", "srr", "Running", id="seen late"),
        pytest.param("Running", "ssr", "Running", id="one still runs"),
        pytest.param("Running", "sss", "Finished", id="all are done"),
        pytest.param("Running", "sssf", "Finished", id="enough are done"),
        pytest.param("Running", "rrf", "Failed", id="one failed"),
        pytest.param("Running", "rfp", "Scheduling", id="one failed, and one is back"),
        pytest.param("Running", "rr", "Pending", id="one is gone"),
        pytest.param("Finished", "rr", "Finished", id="an end is an end"),
        pytest.param("Failed", "rrr", "Failed", id="so is a failure"),
    ],
)
def test_a_group_goes_from_phase_to_phase(phase, pods, then):
    status = next_status(group(phase), members=members(pods), now_s=EPOCH_S)

    assert status.phase == then


def test_a_group_tells_how_many_of_its_pods_do_what_for_whom_and_since_when():
    status = next_status(group("Pending"), members=members("rspf"), now_s=EPOCH_S + 5.7)

    assert status == PodGroupStatus(
        phase="Failed",
        occupied_by="team/job",
        running=1,
        succeeded=1,
        failed=1,
        schedule_start_time=at(5),
    )
    later = next_status(
        group("Scheduling", occupied_by="team/job", schedule_start_time=at(5)),
        members=members("rrr"),
        now_s=EPOCH_S + 60,
    )
    assert (later.schedule_start_time, later.occupied_by) == (at(5), "team/job")


@pytest.mark.parametrize(
    ("status", "hours", "is_left"),
    [
        pytest.param({}, 47, False, id="in time"),
        pytest.param({}, 49, True, id="too late"),
        pytest.param({"running": 1}, 49, False, id="someone runs"),
        pytest.param({"schedule_start_time": None}, 49, False, id="it could never start"),
    ],
)
def test_a_group_of_which_nothing_ever_ran_is_left_alone_in_the_end(status, hours, is_left):
    found = group("Scheduling", **{"schedule_start_time": at(0), **status})

    then = next_status(found, members=members("rrr"), now_s=EPOCH_S + hours * HOUR_S)

    assert (then == found.status) is is_left


def test_pods_belong_to_the_group_of_their_namespace_and_label():
    known = GroupedPods(read_member)
    labels = {POD_GROUP_LABEL: "gang"}
    pod = make_pod("a", namespace="team", labels=labels, phase="Pending", owner=("Job", "job"))
    running = msgspec.structs.replace(
        pod, status=msgspec.structs.replace(pod.status, phase="Running")
    )
    known.see(Added(make_pod("b", namespace="other", labels=labels)))
    known.see(Added(make_pod("c", namespace="team")))
    known.see(Added(pod))
    known.see(Modified(pod, running))
    known.see(Synced())

    assert list(known.of("team/gang").values()) == [Member("Running", ("team/job",))]
    known.see(Deleted(running))
    assert known.of("team/gang") == {}


# -------------------------------------------------------------------------------------- quotas


def test_a_quota_tells_what_its_namespace_uses_in_the_units_people_write():
    quota = make_quota("a", min={"cpu": 4, "memory": "8Gi"}, max={"nvidia.com/gpu": 2})
    pods = [
        pod_of("a", "one", cpu_milli=1500, memory_bytes=2**30),
        pod_of("a", "two", cpu_milli=500, memory_bytes=2**20 + 1, requests={"fpga": 1}),
        pod_of("b", "other"),
    ]
    snapshot = make_snapshot(make_facts(), pods=[(pod, "n1") for pod in pods])
    snapshot.objects.put(quota)

    usage = quota_usage(snapshot)

    assert next_quota_status(quota, usage=usage).used == {
        "cpu": "2",
        "fpga": "1",
        "memory": str(2**30 + 2**20 + 1),
        "nvidia.com/gpu": "0",
    }


@pytest.mark.parametrize(
    ("told", "is_new"),
    [
        pytest.param({"cpu": "1500m"}, False, id="as it is"),
        pytest.param({"cpu": 1.5}, False, id="in other words"),
        pytest.param({"cpu": "2"}, True, id="no longer"),
        pytest.param({"cpu": "1500m", "memory": "1Gi"}, True, id="more than there is"),
        pytest.param({"cpu": "lots"}, True, id="nonsense"),
        pytest.param(None, True, id="nothing yet"),
    ],
)
def test_what_is_told_already_is_not_told_again(told, is_new):
    quota = make_quota("a", min={"cpu": 4})
    quota = msgspec.structs.replace(quota, status=ElasticQuotaStatus(used=told))

    status = next_quota_status(quota, usage={"a": {"cpu": 1500, "pods": 1}})

    assert (status is not quota.status) is is_new
