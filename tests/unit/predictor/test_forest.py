import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from predictor.forest import MAX_PACKED_ROWS, PackedForest


def make_forest(seed, *, n_features=13, n_estimators=12, max_depth=6):
    dice = np.random.default_rng(seed)
    matrix = dice.normal(size=(300, n_features)).astype(np.float32)
    # Many equal values put thresholds right between, and on, floats that occur.
    matrix[:, 0] = dice.integers(0, 5, size=300) / 10
    y = (5 * matrix[:, 0] + 0.3 * matrix[:, 1] + dice.normal(scale=0.5, size=300) > 1.0).astype(int)
    classifier = RandomForestClassifier(
        n_estimators=n_estimators, max_depth=max_depth, random_state=seed
    ).fit(matrix, y)
    return classifier, matrix


@pytest.mark.parametrize("seed", range(12))
def test_equals_predict_proba(seed):
    classifier, matrix = make_forest(seed, max_depth=1 + seed, n_features=2 + seed)
    near = np.nextafter(matrix, np.float32(np.inf))
    forest = PackedForest.pack(classifier)

    for rows in (matrix[:1], matrix, near, np.resize(near, (MAX_PACKED_ROWS + 1, 2 + seed))):
        expected = classifier.predict_proba(rows)[:, 1]
        assert np.abs(forest.predict_p_success(rows) - expected).max() < 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_bias_and_contributions_sum_to_the_estimate(seed):
    classifier, matrix = make_forest(seed)
    forest = PackedForest.pack(classifier)

    bias, contributions = forest.explain(matrix[:50])

    assert contributions.shape == (50, 13)
    assert np.allclose(bias + contributions.sum(axis=1), forest.predict_p_success(matrix[:50]))


def test_what_decides_contributes_most():
    classifier, matrix = make_forest(3)

    _, contributions = PackedForest.pack(classifier).explain(matrix)

    assert np.abs(contributions).mean(axis=0).argmax() == 0


def test_a_forest_of_stumps_without_any_split_answers_the_base_rate():
    matrix = np.zeros((10, 2), dtype=np.float32)
    y = np.array([0] * 3 + [1] * 7)
    classifier = RandomForestClassifier(n_estimators=3, bootstrap=False).fit(matrix, y)

    forest = PackedForest.pack(classifier)

    assert forest.predict_p_success(matrix[:2]).tolist() == pytest.approx([0.7, 0.7])
    assert forest.explain(matrix[:2])[1].tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_refuses_classes_that_are_not_failure_and_success():
    matrix = np.zeros((4, 1), dtype=np.float32)
    classifier = RandomForestClassifier(n_estimators=1).fit(matrix, [1, 1, 1, 1])

    with pytest.raises(ValueError, match="classes"):
        PackedForest.pack(classifier)
