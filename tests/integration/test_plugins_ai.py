"""The profile ``ai``, by the examples of its plugins, with a predictor that a test answers for."""

import pytest

from scheduler.settings import PredictorSettings, SchedulerSettings
from tests.integration.fake_predictor import FakePredictor
from tests.integration.plugin_world import EXAMPLES, HAS_KUBECTL, cluster, scheduling
from tests.simulator_program import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not HAS_KUBECTL, reason="there is no kubectl on PATH"),
]


@pytest.mark.parametrize(
    ("plugin", "p_success", "load_scores"),
    [
        pytest.param("NodePrediction", {"n1": 0.1, "n2": 0.9}, {}, id="healthy"),
        pytest.param("NodeLoad", {"n1": 0.9, "n2": 0.9}, {"n1": 10, "n2": 90}, id="calm"),
    ],
)
def test_the_example_goes_where_the_predictor_says(tmp_path, plugin, p_success, load_scores):
    with cluster(tmp_path) as kubectl, FakePredictor(p_success) as predictor:
        predictor.load_scores = load_scores
        # A busy machine must not make the decision one without the predictor.
        asked = PredictorSettings(url=predictor.url, timeout=30.0)
        with scheduling(kubectl.url, "ai", SchedulerSettings(predictor=asked)):
            kubectl("apply", "-f", str(EXAMPLES / f"{plugin}.yaml"))
            [pod] = wait_for(kubectl.bound)

    assert pod["spec"]["nodeName"] == "n2"
