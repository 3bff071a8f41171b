from dataclasses import replace

import numpy as np
import pytest

from predictor.calibration import Calibration, fit_calibration
from predictor.contract import Quality, Validation
from predictor.evaluation import (
    TrustRule,
    challenge,
    expected_calibration_error,
    newest_unseen,
    quality,
    time_folds,
    validate,
    why_no_longer_trusted,
    why_not_better,
    why_not_trusted,
    without_the_past,
)
from predictor.rows import TrainingSet


def make_rows(n=120, *, seed=0, signal=True):
    dice = np.random.default_rng(seed)
    matrix = dice.random(size=(n, 13)).astype(np.float32)
    y = dice.random(n) < (np.where(matrix[:, 3] > 0.7, 0.1, 0.95) if signal else 0.8)
    made_at_s = np.arange(n, dtype=np.float64)
    return TrainingSet(
        X=matrix, y=y, enhanced_ratio=1.0 - matrix[:, 3].astype(float), made_at_s=made_at_s,
        decided_at_s=made_at_s + 1.0,
    )  # fmt: skip


def look_up(matrix, y):
    """Estimate from the one column that matters."""
    high = matrix[:, 3] > 0.7
    p_high, p_low = y[high].mean() if high.any() else 0.5, y[~high].mean()
    return lambda later: np.where(later[:, 3] > 0.7, p_high, p_low)


def test_no_fold_learns_from_what_comes_later():
    rows = make_rows()

    folds, is_timely = time_folds(rows)

    assert is_timely
    assert len(folds) == 5
    for fold in folds:
        assert rows.decided_at_s[fold.train].max() <= rows.made_at_s[fold.test].min()


def test_judges_each_row_but_the_first_block_once():
    rows = make_rows(60)

    folds, _ = time_folds(rows)

    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(10, 60))


def test_many_rows_are_judged_in_fewer_blocks():
    folds, _ = time_folds(make_rows(20_000))

    assert [len(fold.test) for fold in folds] == [5_000, 5_000, 5_000]


def test_a_burst_is_judged_in_the_order_of_placement_and_says_so():
    rows = make_rows()
    rows = replace(rows, decided_at_s=rows.made_at_s + 1e6)

    folds, is_timely = time_folds(rows)

    assert not is_timely
    assert folds
    assert all(fold.train.max() < fold.test.min() for fold in folds)


def with_slow_successes(rows, *, window_s):
    """Failures are known at once, successes when the window is over."""
    took_s = np.where(rows.y, window_s, 1.0)
    return replace(rows, decided_at_s=rows.made_at_s + took_s)


def test_failures_are_not_learnt_from_before_successes_of_their_time_can_be():
    rows = with_slow_successes(make_rows(600, signal=False), window_s=100.0)

    young = rows.y[(rows.decided_at_s <= 600.0) & (rows.made_at_s > 500.0)]
    mature = rows.mature_at(600.0)

    assert not young.any()  # all that is known of the youngest is failures
    assert mature.made_at_s.max() == 500.0
    assert mature.y.mean() == pytest.approx(rows.y.mean(), abs=0.02)
    for fold in time_folds(rows)[0]:
        assert rows.made_at_s[fold.train].max() <= rows.made_at_s[fold.test].min() - 100.0


def test_successes_that_take_long_do_not_make_a_model_look_bad():
    rows = make_rows(600)

    quick = validate(rows, fit=look_up).validation
    slow = validate(with_slow_successes(rows, window_s=100.0), fit=look_up).validation

    assert slow.model.brier == pytest.approx(quick.model.brier, abs=0.02)
    assert slow.base_rate.brier == pytest.approx(quick.base_rate.brier, abs=0.02)


def test_finds_nothing_to_judge_where_all_ended_alike():
    rows = make_rows(20)

    assert time_folds(replace(rows, y=rows.y | True))[0] == []


def test_a_model_that_sees_beats_the_base_rate():
    judgement = validate(make_rows(300), fit=look_up)
    validation = judgement.validation

    assert validation.n_rows == 250
    assert validation.model.brier < validation.base_rate.brier
    assert validation.model.roc_auc > 0.8
    assert validation.enhanced_scoring.roc_auc > 0.7
    assert validation.base_rate.expected_calibration_error < 0.1
    assert judgement.calibration.slope > 0
    assert not why_not_trusted(validation, n_rows=300, n_failures=80, rule=TrustRule())


def test_a_model_of_noise_is_not_trusted():
    def guess(matrix, y):
        return lambda later: later[:, 5].astype(float)

    validation = validate(make_rows(300, signal=False), fit=guess).validation

    assert why_not_trusted(validation, n_rows=300, n_failures=60, rule=TrustRule())


def make_validation(*, brier=0.1, base=0.2, roc_auc=0.8):
    def make(score):
        return Quality(roc_auc=roc_auc, brier=score, expected_calibration_error=0.0)

    return Validation(
        n_rows=80,
        n_failures=20,
        n_folds=5,
        outcomes_known_in_time=True,
        model=make(brier),
        base_rate=make(base),
        enhanced_scoring=make(0.15),
        gain=base - brier,
        gain_standard_error=0.02,
    )


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        pytest.param({"n_rows": 49}, "49 rows, 50 are needed", id="few rows"),
        pytest.param({"n_failures": 4}, "4 failures, 5 are needed", id="few failures"),
        pytest.param({"validation": None}, "too few", id="not validated"),
        pytest.param({"validation": make_validation(brier=0.2)}, "Brier", id="no better"),
        pytest.param({"validation": make_validation(brier=0.19)}, "chance", id="chance"),
        pytest.param({"validation": make_validation(roc_auc=0.5)}, "chance", id="no ranking"),
        pytest.param({"validation": make_validation(roc_auc=None)}, "too few", id="one outcome"),
    ],
)
def test_says_why_a_model_is_not_trusted(fields, why):
    defaults = {"validation": make_validation(), "n_rows": 100, "n_failures": 20}

    assert not why_not_trusted(**defaults, rule=TrustRule())
    assert why in why_not_trusted(**(defaults | fields), rule=TrustRule())


def test_may_ask_for_more_certainty():
    rule = TrustRule(min_gain_errors=6.0)

    assert "Brier" in why_not_trusted(make_validation(), n_rows=100, n_failures=20, rule=rule)


def test_calibration_error_is_the_distance_from_what_happened():
    y = np.array([True] * 8 + [False] * 2)

    assert expected_calibration_error(np.full(10, 0.8), y=y) == pytest.approx(0.0)
    assert expected_calibration_error(np.full(10, 1.0), y=y) == pytest.approx(0.2)


def test_no_ranking_is_claimed_where_all_ended_alike():
    assert quality(np.array([0.5, 0.6]), y=np.array([True, True])).roc_auc is None


def test_calibration_mends_a_forest_that_is_too_sure():
    dice = np.random.default_rng(1)
    p = dice.random(2000)
    y = dice.random(2000) < p
    too_sure = p**3 / (p**3 + (1 - p) ** 3)

    calibrated = fit_calibration(too_sure, y=y).apply(too_sure)

    assert quality(calibrated, y=y).brier < quality(too_sure, y=y).brier
    assert expected_calibration_error(calibrated, y=y) < 0.04


def test_calibration_keeps_the_order():
    share = np.linspace(0, 1, 50)

    calibrated = fit_calibration(share, y=share > 0.6).apply(share)

    assert (np.diff(calibrated) >= 0).all()


def test_estimates_that_rank_backwards_calibrate_to_the_base_rate():
    share = np.linspace(0.1, 0.9, 100)

    calibrated = fit_calibration(share, y=share < 0.5).apply(share)

    assert calibrated == pytest.approx(0.5)


def test_one_outcome_teaches_no_calibration():
    assert fit_calibration(np.array([0.3, 0.9]), y=np.array([True, True])) == Calibration()


@pytest.mark.parametrize(
    ("n", "p_success", "why"),
    [
        pytest.param(100, np.where(np.arange(100) % 4, 0.9, 0.3), "", id="it still tells"),
        pytest.param(100, np.where(np.arange(100) % 4, 0.3, 0.9), "Brier", id="it misleads"),
        pytest.param(100, np.full(100, 0.75), "Brier", id="it says nothing"),
        pytest.param(48, np.where(np.arange(48) % 4, 0.3, 0.9), "", id="too few rows to tell"),
    ],
)
def test_a_model_in_service_stays_as_long_as_later_rows_do_not_speak_against_it(n, p_success, why):
    y = np.arange(n) % 4 > 0

    reason = why_no_longer_trusted(p_success, y=y, rule=TrustRule())

    assert why in reason
    assert bool(reason) is bool(why)


def test_the_newest_unseen_rows_are_new_to_both():
    rows = make_rows(600)

    fold = newest_unseen(rows, after_s=299.0, rule=TrustRule())

    assert rows.made_at_s[fold.test].min() == 450.0
    assert fold.test[-1] == 599
    assert rows.decided_at_s[fold.train].max() <= 450.0


@pytest.mark.parametrize(
    ("after_s", "why"),
    [
        pytest.param(501.0, "49 placements", id="too few rows"),
        pytest.param(1e9, "0 placements", id="none"),
    ],
)
def test_says_when_too_little_is_new_to_both(after_s, why):
    assert why in newest_unseen(make_rows(600), after_s=after_s, rule=TrustRule())


def contest(rows, *, p_champion):
    """Challenge a champion that learnt from the first third."""
    fold = newest_unseen(rows, after_s=rows.made_at_s[rows.n_rows // 3], rule=TrustRule())
    return challenge(
        rows,
        fold=fold,
        fit=look_up,
        raw=validate(rows, fit=look_up).raw,
        p_champion=p_champion(rows.X[fold.test]),
        champion=1,
    )


def test_a_challenger_that_knows_better_may_replace_the_champion():
    made = contest(make_rows(600), p_champion=lambda x: np.where(x[:, 3] > 0.7, 0.9, 0.5))

    assert made.brier < made.champion_brier
    assert made.gain == pytest.approx(made.champion_brier - made.brier)
    assert not why_not_better(made, rule=TrustRule())


def test_a_challenger_that_knows_the_same_may_not():
    made = contest(make_rows(600), p_champion=lambda x: np.where(x[:, 3] > 0.7, 0.1, 0.95))

    assert "version 1 by more than chance" in why_not_better(made, rule=TrustRule())


def turned(rows, *, at):
    """From one row on, what was bad is good, and the other way round."""
    y = rows.y.copy()
    y[at:] = ~y[at:]
    return replace(rows, y=y)


def test_what_came_before_a_turn_of_the_world_is_left_out():
    rows = turned(make_rows(400), at=200)

    kept = without_the_past(rows, since_s=200.0, fit=look_up, rule=TrustRule())

    assert kept.made_at_s.tolist() == list(range(200, 400))


def test_what_came_before_a_change_that_was_none_still_teaches():
    rows = make_rows(400)

    assert without_the_past(rows, since_s=200.0, fit=look_up, rule=TrustRule()) is rows


@pytest.mark.parametrize("since_s", [380.0, 400.0, 500.0])
def test_a_few_rows_since_a_change_do_not_tell(since_s):
    rows = turned(make_rows(400), at=int(min(since_s, 400)))

    assert without_the_past(rows, since_s=since_s, fit=look_up, rule=TrustRule()) is rows
