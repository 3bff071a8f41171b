import random

import pytest

from predictor.drift import ChangeDetector, JudgedPrediction


def errors(n, *, p_wrong, seed, start=0):
    """Outcomes of confident predictions, some of which are wrong; one a second."""
    dice = random.Random(seed)
    return [
        JudgedPrediction(
            p_success=0.9, success=dice.random() >= p_wrong, made_at_s=float(start + i)
        )
        for i in range(n)
    ]


def changes(stream):
    detector = ChangeDetector(delta=0.002)
    return [change for judged in stream if (change := detector.update(judged))]


@pytest.mark.parametrize("seed", range(5))
def test_growing_errors_are_noticed_and_dated(seed):
    stream = errors(300, p_wrong=0.1, seed=seed) + errors(
        200, p_wrong=0.6, seed=seed + 100, start=300
    )

    [change] = changes(stream)

    assert change.since_s == pytest.approx(300.0, abs=25.0)
    assert change.error_before == pytest.approx(0.09, abs=0.05)
    assert change.error_after > 0.3


@pytest.mark.parametrize("seed", range(5))
def test_steady_errors_are_no_change(seed):
    assert changes(errors(2_000, p_wrong=0.3, seed=seed)) == []


@pytest.mark.parametrize("seed", range(5))
def test_falling_errors_are_no_drift(seed):
    assert changes(errors(300, p_wrong=0.6, seed=seed) + errors(300, p_wrong=0.1, seed=seed)) == []
