import pytest

from kube.health import pod_failure, ready_since
from tests.builders import at, make_condition, make_container_status, make_pod

RESTARTED = make_container_status(restarts=1, last_terminated=(0, "Completed"))


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        pytest.param(make_pod(), None, id="pending"),
        pytest.param(make_pod(ready_at=at(1)), None, id="ready"),
        pytest.param(
            make_pod(statuses=[make_container_status(waiting="ContainerCreating")]),
            None,
            id="being created",
        ),
        pytest.param(make_pod(phase="Failed", reason="Evicted"), "evicted", id="evicted"),
        pytest.param(make_pod(reason="NodeLost"), "node_lost", id="node lost"),
        pytest.param(make_pod(phase="Failed"), "crashed", id="failed"),
        pytest.param(
            make_pod(statuses=[make_container_status(terminated=(137, "OOMKilled"))]),
            "oom_killed",
            id="out of memory",
        ),
        pytest.param(
            make_pod(
                statuses=[
                    make_container_status(waiting="CrashLoopBackOff", last_terminated=(1, "Error"))
                ]
            ),
            "crashed",
            id="crash loop",
        ),
        pytest.param(
            make_pod(
                statuses=[make_container_status(restarts=2, last_terminated=(137, "OOMKilled"))]
            ),
            "oom_killed",
            id="was out of memory",
        ),
        pytest.param(make_pod(statuses=[RESTARTED]), "crashed", id="ended and was restarted"),
        pytest.param(
            make_pod(statuses=[make_container_status(terminated=(0, "Completed"))]),
            None,
            id="one container is done",
        ),
        pytest.param(
            make_pod(statuses=[make_container_status(waiting="ImagePullBackOff")]),
            "start_failed",
            id="no image",
        ),
        pytest.param(
            make_pod(statuses=[make_container_status(), make_container_status(restarts=1)]),
            "crashed",
            id="any container",
        ),
        pytest.param(
            make_pod(init_statuses=[make_container_status(last_terminated=(2, "Error"))]),
            "crashed",
            id="init container",
        ),
        pytest.param(make_pod(phase="Succeeded", statuses=[RESTARTED]), None, id="succeeded"),
    ],
)
def test_failures_are_told_from_the_status(pod, reason):
    assert pod_failure(pod) == reason


def test_ready_since_the_condition_turned_true():
    unready = make_pod(conditions=[make_condition("Ready", status="False", since=at(1))])

    assert ready_since(make_pod(ready_at=at(7))) == at(7)
    assert ready_since(unready) is None
    assert ready_since(make_pod()) is None
