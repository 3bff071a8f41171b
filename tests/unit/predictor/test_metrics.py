"""What the predictor shows of its models, and of how right they were."""

from predictor.contract import ModelVersion, Quality, Validation
from predictor.metrics import Metrics


def quality(brier, *, roc_auc=0.8):
    return Quality(roc_auc=roc_auc, brier=brier, expected_calibration_error=0.02)


def model(*, validation=None):
    return ModelVersion(
        version=3,
        trained_at_s=1_800_000_000.0,
        n_rows=200,
        n_failures=40,
        base_rate=0.8,
        is_trusted=True,
        why_not_trusted="",
        validation=validation,
        importances={"node_memory_utilization": 0.75, "pod_cpu_request": 0.25},
        hyperparameters={},
    )


def validated():
    return Validation(
        n_rows=150,
        n_failures=30,
        n_folds=5,
        outcomes_known_in_time=True,
        model=quality(0.1),
        base_rate=quality(0.16, roc_auc=None),
        enhanced_scoring=quality(0.2),
        gain=0.06,
        gain_standard_error=0.01,
    )


def watching(shown):
    metrics = Metrics()
    metrics.watch(model_version=lambda: 3, shown_model=lambda: shown, snapshot_age_s=lambda: None)
    return metrics.registry.get_sample_value


def test_outcomes_judge_what_was_predicted():
    metrics = Metrics()
    value = metrics.registry.get_sample_value

    metrics.judge(0.9, success=True)
    metrics.judge(0.6, success=False)

    assert value("predictor_squared_error_count") == 2
    assert round(value("predictor_squared_error_sum"), 6) == 0.37
    assert value("predictor_judged_p_success_sum", {"outcome": "success"}) == 0.9
    assert value("predictor_judged_p_success_count", {"outcome": "failure"}) == 1


def test_a_model_is_shown_beside_its_baselines():
    value = watching(model(validation=validated()))

    def shown(estimator, measure):
        return value("predictor_model_quality", {"estimator": estimator, "measure": measure})

    assert shown("model", "brier") == 0.1
    assert shown("base_rate", "brier") == 0.16
    assert shown("enhanced_scoring", "expected_calibration_error") == 0.02
    assert shown("model", "roc_auc") == 0.8
    assert shown("base_rate", "roc_auc") is None
    assert value("predictor_model_gain") == 0.06
    assert value("predictor_model_rows") == 200
    assert value("predictor_model_trained_timestamp_seconds") == 1_800_000_000.0
    importance = {"feature": "node_memory_utilization"}
    assert value("predictor_model_importance_ratio", importance) == 0.75


def test_a_model_that_was_not_validated_has_no_quality():
    value = watching(model())

    assert value("predictor_model_gain") is None
    assert value("predictor_model_failures") == 40


def test_without_any_model_there_are_no_figures_of_one():
    value = watching(None)

    assert value("predictor_model_version") == 3
    assert value("predictor_model_rows") is None
