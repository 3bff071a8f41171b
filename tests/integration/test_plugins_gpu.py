"""The profile ``gpu``, by the example of its plugin."""

import json

import pytest

from scheduler.model import GPU_CARD_MODEL, GPU_COUNT, GPU_INDEX, GPU_MILLI
from tests.integration.plugin_world import EXAMPLES, HAS_KUBECTL, running
from tests.simulator_program import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not HAS_KUBECTL, reason="there is no kubectl on PATH"),
]

BAD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "bad", "annotations": {GPU_MILLI: "half"}},
    "spec": {
        "schedulerName": "ai-scheduler",
        "containers": [{"name": "app", "image": "nginx:1.27"}],
    },
}


def test_cards_are_shared_and_written_to_pods_before_they_are_bound(tmp_path):
    with running("gpu", tmp_path) as kubectl:
        kubectl("label", "node", "n1", f"{GPU_CARD_MODEL}=T4")
        cards = {"allocatable": {GPU_COUNT: "3"}, "capacity": {GPU_COUNT: "3"}}
        kubectl(
            "patch", "node", "n1", "--subresource=status", "--type=merge",
            "-p", json.dumps({"status": cards}),
        )  # fmt: skip
        kubectl("apply", "-f", str(EXAMPLES / "GpuShare.yaml"))
        wait_for(lambda: len(kubectl.bound("-l", "example=gpu-share")) == 3)
        given = {
            pod["metadata"]["name"]: pod["metadata"]["annotations"].get(GPU_INDEX)
            for pod in kubectl.bound("-l", "example=gpu-share")
        }
        bad = tmp_path / "bad.json"
        bad.write_text(json.dumps(BAD))
        kubectl("apply", "-f", str(bad))

        def condition():
            return kubectl("get", "pod", "bad", "-o", "jsonpath={.status.conditions[*].message}")

        wait_for(lambda: "alibabacloud.com/gpu-milli: 'half'" in condition())

        assert given["inference-a"] == given["inference-b"]
        assert {given["inference-a"], *given["training"].split("-")} == {"0", "1", "2"}
