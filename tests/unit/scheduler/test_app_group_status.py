"""What is said of an application: its order, and how many of its workloads run."""

import msgspec
import pytest

from kube.custom import AppGroup
from kube.informer import Added, Deleted, Modified, Synced
from scheduler.cluster.app_group_status import Part, next_app_group_status, read_part, wire_status
from scheduler.cluster.grouped_pods import GroupedPods
from scheduler.plugins.network.app_groups import APP_GROUP_LABEL, WORKLOAD_LABEL
from tests.builders import EPOCH_S, at, make_pod
from tests.unit.scheduler.network_worlds import make_group

GROUP = make_group(algorithm="ReverseKahn", web=["db"], db=[])


def pod(name, workload, *, group="shop", phase="Running"):
    labels = {APP_GROUP_LABEL: group, WORKLOAD_LABEL: workload}
    return make_pod(name, labels=labels, phase=phase)


def parts_of(*pods):
    parts = GroupedPods(read_part)
    for each in pods:
        parts.see(Added(each))
    return parts


def status_of(group, *pods, now_s=EPOCH_S):
    parts = parts_of(*pods).of(group.metadata.name)
    return next_app_group_status(group, parts=parts, now_s=now_s)


@pytest.mark.parametrize(
    ("pods", "n_running"),
    [
        pytest.param([], 0, id="nobody is there"),
        pytest.param([pod("a", "web", phase="Pending")], 0, id="nobody runs"),
        pytest.param([pod("a", "web"), pod("b", "web")], 1, id="two of one workload"),
        pytest.param([pod("a", "web"), pod("b", "db")], 2, id="all"),
        pytest.param([pod("a", "web", group="other"), pod("b", "x")], 0, id="others"),
        pytest.param([make_pod("a", phase="Running")], 0, id="of no application"),
    ],
)
def test_workloads_run_of_which_a_pod_does(pods, n_running):
    assert status_of(GROUP, *pods).running_workloads == n_running


def test_the_order_is_told_with_the_time_of_its_making_and_stays_as_it_is():
    first = status_of(GROUP, now_s=EPOCH_S + 5.5)
    told = msgspec.structs.replace(GROUP, status=first)
    again = status_of(told, now_s=EPOCH_S + 60)
    turned = msgspec.structs.replace(told, spec=make_group(web=["db"], db=[]).spec)
    later = status_of(turned, now_s=EPOCH_S + 90)

    assert [(each.index, each.workload.selector) for each in first.topology_order] == [
        (1, "db"),
        (2, "web"),
    ]
    assert (first.topology_calculation_time, first.schedule_start_time) == (at(5), None)
    assert again == first
    assert [each.workload.selector for each in later.topology_order] == ["web", "db"]
    assert later.topology_calculation_time == at(90)


def test_an_application_starts_with_its_first_pod():
    first = status_of(GROUP, pod("a", "web", phase="Pending"), now_s=EPOCH_S + 3)
    told = msgspec.structs.replace(GROUP, status=first)

    assert first.schedule_start_time == at(3)
    assert status_of(told, pod("b", "web"), now_s=EPOCH_S + 9).schedule_start_time == at(3)


def test_pods_that_change_or_go_are_counted_no_more():
    waiting, running = pod("a", "web", phase="Pending"), pod("a", "web")
    parts = parts_of(waiting)

    parts.see(Modified(waiting, running))
    parts.see(Synced())
    then = dict(parts.of("shop"))
    parts.see(Deleted(running))
    parts.see(Deleted(running))

    assert list(then.values()) == [Part("web", is_running=True)]
    assert parts.of("shop") == {}


def test_what_is_written_is_what_is_read_and_nothing_in_it_is_null():
    status = status_of(GROUP, pod("a", "web"))

    body = wire_status(status)

    read = msgspec.convert(
        {"metadata": msgspec.to_builtins(GROUP.metadata), "status": body}, AppGroup
    )
    assert read.status == status
    assert "null" not in msgspec.json.encode(body).decode()
