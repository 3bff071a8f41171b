"""How good a model is, judged only on rows later than those it learnt from.

The rows are cut in time order into blocks; each block but the first is predicted by a model
fitted on the blocks before it, and calibrated on the predictions made so far. So even some tens of
rows give an honest judgement over most of them, and no row is ever judged by a model that has
seen it or anything after it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, roc_auc_score

from predictor.calibration import Calibration, fit_calibration
from predictor.contract import Challenge, Quality, SliceQuality, Validation
from predictor.rows import TrainingSet

N_FOLDS: Final = 5
N_FOLDS_OF_MANY: Final = 3
MANY_ROWS: Final = 20_000
"""From here on, each block alone is more than enough to judge on, and every fold is a fit."""
_N_BINS: Final = 10
_MIN_COVERAGE: Final = 0.5

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Fit = Callable[[NDArray[np.float32], Booleans], Callable[[NDArray[np.float32]], Floats]]
"""Fits on ``X`` and ``y`` and gives back a function from ``X`` to raw estimates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRule:
    """What a model must show before it may answer."""

    min_rows: int = 50
    min_failures: int = 5
    min_gain_errors: float = 1.0
    """By how many standard errors its Brier score must beat the base rate's: with one, a model
    that has learnt nothing from 50 rows passes about once in thirty times."""


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Which rows to learn from and which to judge on; positions in time order."""

    train: NDArray[np.intp]
    test: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What rows say of a way of fitting."""

    validation: Validation | None
    """``None`` if there is no fold to judge on."""
    calibration: Calibration
    """For a model fitted on all rows."""
    raw: Floats
    """Shape ``(n_rows,)``: what a model fitted on earlier rows estimates; NaN where none does."""


def time_folds(rows: TrainingSet) -> tuple[list[Fold], bool]:
    """Cut rows into folds whose test rows are all later than their training rows.

    Each fold learns only from rows that were mature (``TrainingSet.maturity_s``), and whose
    outcome was known, when its first test row was decided. If that leaves less than half of the
    rows judged, as in a short burst of placements, a fold learns from all rows before it instead.

    Args:
        rows: Oldest first; a fold without both outcomes in training is left out.

    Returns:
        The folds, and whether each learns only from outcomes known in time.
    """
    y = rows.y
    n_folds = N_FOLDS if len(y) < MANY_ROWS else N_FOLDS_OF_MANY
    blocks = np.array_split(np.arange(len(y)), n_folds + 1)
    timely: list[Fold] = []
    all_before: list[Fold] = []
    for test in blocks[1:]:
        if not len(test):
            continue
        known, before = _known_before(rows, position=int(test[0])), np.arange(test[0])
        for folds, train in ((timely, known), (all_before, before)):
            if _has_both(y[train]):
                folds.append(Fold(train=train, test=test))
    n_judged = sum(len(fold.test) for fold in timely)
    if timely and n_judged >= _MIN_COVERAGE * len(y):
        return timely, True
    return all_before, False


def _known_before(rows: TrainingSet, *, position: int) -> NDArray[np.intp]:
    before = np.arange(position)
    began_at_s = rows.made_at_s[position]
    is_known = rows.decided_at_s[before] <= began_at_s
    is_mature = rows.made_at_s[before] <= began_at_s - rows.maturity_s
    known: NDArray[np.intp] = before[is_known & is_mature]
    return known


def _has_both(y: Booleans) -> bool:
    return bool(y.any() and not y.all())


def validate(rows: TrainingSet, *, fit: Fit) -> Judgement:
    """Judge a way of fitting beside its baselines, and calibrate it.

    Args:
        rows: Oldest first.
        fit: Fits a model that has not seen the rows it will be judged on.
    """
    folds, is_timely = time_folds(rows)
    if not folds:
        return Judgement(None, Calibration(), np.full(rows.n_rows, np.nan))
    raw, p_model, p_base, p_enhanced = (np.full(rows.n_rows, np.nan) for _ in range(4))
    for fold in folds:
        train, test = fold.train, fold.test
        raw[test] = fit(rows.X[train], rows.y[train])(rows.X[test])
        p_model[test] = _calibrated(raw, fold=fold, rows=rows).apply(raw[test])
        p_base[test] = rows.y[train].mean()
        p_enhanced[test] = fit_calibration(rows.enhanced_ratio[train], y=rows.y[train]).apply(
            rows.enhanced_ratio[test]
        )
    judged = np.concatenate([fold.test for fold in folds])
    y = rows.y[judged]
    gain, gain_standard_error = _gain(p_model[judged], p_base[judged], y=y)
    newest = folds[-1].test
    validation = Validation(
        n_rows=len(y),
        n_failures=int((~y).sum()),
        n_folds=len(folds),
        outcomes_known_in_time=is_timely,
        model=quality(p_model[judged], y=y),
        base_rate=quality(p_base[judged], y=y),
        enhanced_scoring=quality(p_enhanced[judged], y=y),
        gain=gain,
        gain_standard_error=gain_standard_error,
        newest=SliceQuality(
            n_rows=len(newest),
            n_failures=int((~rows.y[newest]).sum()),
            success_rate=float(rows.y[newest].mean()),
            model=quality(p_model[newest], y=rows.y[newest]),
            base_rate=quality(p_base[newest], y=rows.y[newest]),
            enhanced_scoring=quality(p_enhanced[newest], y=rows.y[newest]),
        ),
    )
    return Judgement(validation, fit_calibration(raw[judged], y=y), raw)


def _calibrated(raw: Floats, *, fold: Fold, rows: TrainingSet) -> Calibration:
    """Calibrate by what earlier folds estimated for rows whose outcome this fold may know."""
    judged = fold.train[~np.isnan(raw[fold.train])]
    return fit_calibration(raw[judged], y=rows.y[judged])


def newest_unseen(rows: TrainingSet, *, after_s: float, rule: TrustRule) -> Fold | str:
    """Cut off the newest rows that neither a model in service nor its challenger has seen.

    Of the rows made since the newest that the model in service learnt from, the challenger learns
    from the older half, as far as it was known in time, and both are judged on the newer one.

    Args:
        rows: Oldest first.
        after_s: When the newest row was made that the model in service learnt from.
        rule: What it takes to tell.

    Returns:
        What to learn from and what to judge on, or why that cannot tell.
    """
    start = int(np.searchsorted(rows.made_at_s, after_s, side="right"))
    test = np.arange(start + (rows.n_rows - start) // 2, rows.n_rows)
    n_failures = int((~rows.y[test]).sum())
    if len(test) < rule.min_rows or not rule.min_failures <= n_failures < len(test):
        return (
            f"{len(test)} placements with {n_failures} failures that neither has seen do not tell "
            f"which is better ({rule.min_rows} and {rule.min_failures} are needed)"
        )
    for train in (_known_before(rows, position=int(test[0])), np.arange(test[0])):
        if _has_both(rows.y[train]):
            return Fold(train=train, test=test)
    return "all placements before those that neither has seen ended alike"


def without_the_past(
    rows: TrainingSet, *, since_s: float, fit: Fit, rule: TrustRule
) -> TrainingSet:
    """Leave out the rows from before a change of the world, if that makes a better model.

    Of the rows made since, the older half teaches one model alone, and another together with all
    that came before; both are judged on the newer half. A change may have been none, or one that
    the features tell of anyway: what came before then still teaches.

    Args:
        rows: Oldest first.
        since_s: When the change was, Unix seconds.
        fit: Fits both models.
        rule: What it takes to tell.

    Returns:
        The rows made since, or all.
    """
    start = int(np.searchsorted(rows.made_at_s, since_s))
    middle = start + (rows.n_rows - start) // 2
    test, fresh, known = np.arange(middle, rows.n_rows), slice(start, middle), slice(middle)
    counts = [(len(y), int((~y).sum())) for y in (rows.y[test], rows.y[fresh])]
    if any(
        n < rule.min_rows // 2 or not rule.min_failures <= n_failed < n for n, n_failed in counts
    ):
        return rows
    gain, gain_standard_error = _gain(
        fit(rows.X[fresh], rows.y[fresh])(rows.X[test]),
        fit(rows.X[known], rows.y[known])(rows.X[test]),
        y=rows.y[test],
    )
    is_better = gain > rule.min_gain_errors * gain_standard_error
    return rows.made_since(since_s) if is_better else rows


def challenge(
    rows: TrainingSet, *, fold: Fold, fit: Fit, raw: Floats, p_champion: Floats, champion: int
) -> Challenge:
    """Compare a way of fitting with the model in service, row by row.

    Args:
        rows: Oldest first.
        fold: What to learn from and what to judge on.
        fit: Fits the challenger.
        raw: What ``validate`` gave, to calibrate by.
        p_champion: What the model in service estimates for ``fold.test``.
        champion: Its version.
    """
    y = rows.y[fold.test]
    share = fit(rows.X[fold.train], rows.y[fold.train])(rows.X[fold.test])
    p_challenger = _calibrated(raw, fold=fold, rows=rows).apply(share)
    gain, gain_standard_error = _gain(p_challenger, p_champion, y=y)
    return Challenge(
        champion=champion,
        n_rows=len(y),
        n_failures=int((~y).sum()),
        brier=quality(p_challenger, y=y).brier,
        champion_brier=quality(p_champion, y=y).brier,
        gain=gain,
        gain_standard_error=gain_standard_error,
    )


def why_not_better(made: Challenge, *, rule: TrustRule) -> str:
    """Say why a challenger may not replace the model in service; an empty text if it may."""
    needed = rule.min_gain_errors * made.gain_standard_error
    if made.gain > max(0.0, needed):
        return ""
    return (
        f"on {made.n_rows} placements that neither has seen its Brier score {made.brier:.4f} does "
        f"not beat the {made.champion_brier:.4f} of version {made.champion} by more than chance "
        f"would ({needed:.4f})"
    )


def quality(p_success: Floats, *, y: Booleans) -> Quality:
    """Judge estimates against outcomes; shapes ``(n_rows,)``, at least one row."""
    return Quality(
        roc_auc=float(roc_auc_score(y, p_success)) if _has_both(y) else None,
        brier=float(brier_score_loss(y, p_success, pos_label=True)),
        expected_calibration_error=expected_calibration_error(p_success, y=y),
    )


def expected_calibration_error(p_success: Floats, *, y: Booleans) -> float:
    """Mean distance between estimate and outcome over ten equal bins, weighted by their rows."""
    bins = np.minimum((p_success * _N_BINS).astype(np.intp), _N_BINS - 1)
    gap = np.bincount(bins, weights=p_success - y, minlength=_N_BINS)
    return float(np.abs(gap).sum() / len(y))


def _gain(p_model: Floats, p_base: Floats, *, y: Booleans) -> tuple[float, float]:
    gain = (p_base - y) ** 2 - (p_model - y) ** 2
    return float(gain.mean()), float(gain.std() / np.sqrt(len(y)))


def why_not_trusted(
    validation: Validation | None, *, n_rows: int, n_failures: int, rule: TrustRule
) -> str:
    """Say why a model may not answer; an empty text if it may."""
    if n_rows < rule.min_rows:
        return f"it learnt from {n_rows} rows, {rule.min_rows} are needed"
    if n_failures < rule.min_failures:
        return f"it learnt from {n_failures} failures, {rule.min_failures} are needed"
    if validation is None or validation.model.roc_auc is None:
        return "there are too few successes or failures over time to validate it"
    return _why_no_better(
        validation.model,
        base_rate=validation.base_rate,
        gain=validation.gain,
        needed=rule.min_gain_errors * validation.gain_standard_error,
    )


def why_no_longer_trusted(p_success: Floats, *, y: Booleans, rule: TrustRule) -> str:
    """Judge a model in service anew, by the rule it was let in by: the world may have changed.

    Args:
        p_success: Shape ``(n_rows,)``: its calibrated estimates for rows later than it.
        y: Shape ``(n_rows,)``: what came of them.
        rule: What it must show.

    Returns:
        Why it may no longer answer; an empty text if it may, or if the rows are too few to tell.
    """
    n_failures = int((~y).sum())
    if len(y) < rule.min_rows or n_failures < rule.min_failures or n_failures == len(y):
        return ""
    base_rate = np.full(len(y), y.mean())
    gain, standard_error = _gain(p_success, base_rate, y=y)
    return _why_no_better(
        quality(p_success, y=y),
        base_rate=quality(base_rate, y=y),
        gain=gain,
        needed=rule.min_gain_errors * standard_error,
    )


def _why_no_better(model: Quality, *, base_rate: Quality, gain: float, needed: float) -> str:
    if gain <= max(0.0, needed):
        return (
            f"on later rows its Brier score {model.brier:.4f} does not beat the base rate's "
            f"{base_rate.brier:.4f} by more than chance would ({needed:.4f})"
        )
    if model.roc_auc is not None and model.roc_auc <= 0.5:
        return f"its ROC-AUC {model.roc_auc:.3f} on later rows is no better than chance"
    return ""
