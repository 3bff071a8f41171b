import pytest

from predictor.learning import Progress, why_train
from predictor.settings import OnlineLearningSettings

QUIET = {
    "n_feedback": 0,
    "latest_outcomes": [True] * 50,
    "since_poor_performance_s": 1e9,
    "since_trained_s": 0.0,
    "n_placements": 100,
    "n_placements_at_training": 100,
    "n_since_drift": None,
}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({}, "", id="nothing new"),
        pytest.param({"n_feedback": 9}, "", id="too little feedback"),
        pytest.param({"n_feedback": 10}, "feedback", id="enough feedback"),
        pytest.param({"latest_outcomes": [True] * 40 + [False] * 10}, "", id="good enough"),
        pytest.param(
            {"latest_outcomes": [True] * 39 + [False] * 11}, "performance", id="too many failures"
        ),
        pytest.param({"latest_outcomes": [False] * 19}, "", id="too few to judge"),
        pytest.param(
            {"latest_outcomes": [False] * 50, "since_poor_performance_s": 599.0},
            "",
            id="cooling down",
        ),
        pytest.param({"n_since_drift": 49}, "", id="a drift, of which little is known"),
        pytest.param({"n_since_drift": 50}, "drift", id="a drift, of which enough is known"),
        pytest.param({"n_placements": 119}, "", id="grown a little"),
        pytest.param({"n_placements": 120}, "placements", id="grown enough"),
        pytest.param(
            {"n_placements": 49, "n_placements_at_training": 0}, "", id="too few for a first"
        ),
        pytest.param(
            {"n_placements": 50, "n_placements_at_training": 0}, "placements", id="a first model"
        ),
        pytest.param({"since_trained_s": 86_400.0}, "interval", id="a day later"),
        pytest.param(
            {"since_trained_s": 86_400.0, "n_placements": 0}, "", id="a day without placements"
        ),
    ],
)
def test_says_why_a_model_is_due(changes, reason):
    progress = Progress(**(QUIET | changes))

    assert why_train(progress, settings=OnlineLearningSettings()) == reason
