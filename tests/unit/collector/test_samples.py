import pytest

from collector.samples import SampleError, node_sample, pod_sample
from kube.objects import ContainerMetrics, NodeMetrics, PodMetrics
from tests.builders import at, make_meta


def make_node_metrics(**usage: str) -> NodeMetrics:
    return NodeMetrics(metadata=make_meta("n1"), timestamp=at(3), usage=usage)


def test_reads_a_nodes_usage_with_the_time_at_which_it_was_measured():
    sample = node_sample(make_node_metrics(cpu="1500000n", memory="1Ki"))

    assert (sample.cpu_milli, sample.memory_bytes) == (2, 1024)
    assert sample.at_s == at(3).timestamp()


def test_sums_up_a_pods_containers():
    usage = {"cpu": "100m", "memory": "10"}
    metrics = PodMetrics(
        metadata=make_meta("web-1", namespace="default"),
        timestamp=at(0),
        containers=[ContainerMetrics(name=name, usage=usage) for name in ("app", "log")],
    )

    sample = pod_sample(metrics)

    assert (sample.cpu_milli, sample.memory_bytes) == (200, 20)
    assert sample.containers_cpu_milli == (("app", 100), ("log", 100))


@pytest.mark.parametrize(
    "usage",
    [
        pytest.param({"cpu": "1"}, id="missing"),
        pytest.param({"cpu": "lots", "memory": "1"}, id="malformed"),
        pytest.param({"cpu": "-1", "memory": "1"}, id="negative"),
        pytest.param({"cpu": "1", "memory": "1e400"}, id="absurd"),
    ],
)
def test_refuses_what_is_no_usage(usage):
    with pytest.raises(SampleError):
        node_sample(make_node_metrics(**usage))


def test_refuses_a_pod_without_containers():
    metrics = PodMetrics(metadata=make_meta("web-1", namespace="default"), timestamp=at(0))

    with pytest.raises(SampleError):
        pod_sample(metrics)
