import msgspec
import pytest

from kube.edge.problems import ProblemError
from predictor.contract import PodSpec
from predictor.requirements import pod_requests

MIB = 2**20


def make_spec(*requests, **fields):
    containers = [{"name": f"c{i}", "resources": {"requests": r}} for i, r in enumerate(requests)]
    return msgspec.convert({"containers": containers} | fields, PodSpec)


def test_sums_up_containers():
    spec = make_spec({"cpu": "500m", "memory": "512Mi"}, {"cpu": 1, "memory": "0.5Gi"})

    assert pod_requests(spec) == (1500, 1024 * MIB)


def test_asks_for_nothing_where_nothing_is_requested():
    assert pod_requests(make_spec({})) == (0, 0)


def test_counts_init_containers_sidecars_overhead_and_pod_level_requests():
    init = [
        {"name": "proxy", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
        {"name": "load", "resources": {"requests": {"cpu": "2"}}},
    ]

    spec = make_spec({"cpu": "500m"}, initContainers=init, overhead={"cpu": "50m"})
    pod_level = make_spec({"cpu": "500m"}, resources={"requests": {"cpu": "3"}})

    assert pod_requests(spec) == (2150, 0)
    assert pod_requests(pod_level) == (3000, 0)


def test_takes_a_limit_for_a_request_that_is_missing():
    containers = [{"resources": {"limits": {"cpu": "2", "memory": "64Mi"}, "requests": {"cpu": 1}}}]

    spec = msgspec.convert({"containers": containers}, PodSpec)

    assert pod_requests(spec) == (1000, 64 * MIB)


@pytest.mark.parametrize(
    "cpu", ["-1", "1e400", "lots", "", " 1", "1e39", "9999999999", -1, 1e300, "1" * 5000, "0x10"]
)
def test_names_the_field_of_an_absurd_quantity(cpu):
    with pytest.raises(ProblemError) as caught:
        pod_requests(make_spec({"cpu": "1"}, {"cpu": cpu}))

    assert caught.value.details.status == 422
    assert caught.value.details.field == "pod_spec.containers[1].resources.requests.cpu"
    assert len(caught.value.details.detail) < 200


def test_names_the_field_of_any_other_resource_too():
    with pytest.raises(ProblemError) as caught:
        pod_requests(make_spec({"nvidia.com/gpu": "some"}))

    assert caught.value.details.field == "pod_spec.containers[0].resources.requests.nvidia.com/gpu"


def test_refuses_what_is_absurd_only_in_sum():
    with pytest.raises(ProblemError) as caught:
        pod_requests(make_spec(*[{"memory": "900Pi"}] * 3))

    assert caught.value.details.field == "pod_spec"
