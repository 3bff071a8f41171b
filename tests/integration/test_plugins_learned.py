"""LearnedPolicy by its example: kubectl, a simulated cluster, the shipped profile and a network."""

from contextlib import contextmanager

import pytest
import yaml

from tests.integration.plugin_world import EXAMPLES, HAS_KUBECTL, PROFILES, cluster, scheduling
from tests.networks import write_network
from tests.simulator_program import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not HAS_KUBECTL, reason="there is no kubectl on PATH"),
]

EXAMPLE = str(EXAMPLES / "LearnedPolicy.yaml")
FILLS = {"cpu_requested_ratio": 9.0}
SPREADS = {"cpu_requested_ratio": -9.0}


@pytest.fixture
def kubectl(tmp_path):
    with cluster(tmp_path) as cli:
        yield cli


@contextmanager
def learned(url, network):
    """A scheduler with the shipped profile, whose network is somewhere else."""
    shipped = yaml.safe_load((PROFILES / "learned.yaml").read_text())
    shipped["profiles"][0]["pluginConfig"][0]["args"]["path"] = str(network)
    profile = network.with_name("mine.yaml")
    profile.write_text(yaml.safe_dump(shipped))
    with scheduling(url, str(profile.with_suffix(""))) as shell:
        yield shell


def nodes_of(kubectl, *, n_pods):
    wait_for(lambda: len(kubectl.bound("-l", "example=learned-policy")) == n_pods)
    bound = kubectl.bound("-l", "example=learned-policy")
    return {pod["spec"]["nodeName"] for pod in bound}


@pytest.mark.parametrize(
    ("weights", "n_nodes"),
    [pytest.param(FILLS, 1, id="fills"), pytest.param(SPREADS, 2, id="spreads")],
)
def test_the_example_goes_where_the_network_would_have_it(kubectl, tmp_path, weights, n_nodes):
    network = write_network(tmp_path / "policy.onnx", weights=weights)

    with learned(kubectl.url, network):
        kubectl("apply", "-f", EXAMPLE)
        nodes = nodes_of(kubectl, n_pods=3)

    assert len(nodes) == n_nodes


def test_while_there_is_no_network_the_example_is_placed_and_from_the_next_start_on_it_decides(
    kubectl, tmp_path
):
    network = tmp_path / "policy.onnx"
    with learned(kubectl.url, network):
        kubectl("apply", "-f", EXAMPLE)
        nodes_of(kubectl, n_pods=3)
        kubectl("scale", "deployment/learned", "--replicas=1")
        [kept] = nodes_of(kubectl, n_pods=1)

    write_network(network, weights=FILLS)
    with learned(kubectl.url, network):
        kubectl("scale", "deployment/learned", "--replicas=4")
        nodes = nodes_of(kubectl, n_pods=4)

    assert nodes == {kept}


def test_a_network_that_is_replaced_by_another_shape_decides_until_the_scheduler_ends(
    kubectl, tmp_path
):
    network = write_network(tmp_path / "policy.onnx", weights=FILLS)
    with learned(kubectl.url, network):
        kubectl("apply", "-f", EXAMPLE)
        before = nodes_of(kubectl, n_pods=3)
        write_network(network, weights=SPREADS, shapes={"nodes": [5, 12]})
        kubectl("scale", "deployment/learned", "--replicas=5")
        after = nodes_of(kubectl, n_pods=5)

    assert len(before) == 1
    assert after == before
