import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from predictor.calibration import Calibration
from predictor.features import NodeColumns
from predictor.forest import PackedForest
from predictor.rating import Model, PodShape, node_predictions, rate
from predictor.rows import placement_row, training_set
from predictor.scoring import Weights
from tests.predictor_world import GIB, learnable_placements, make_node_state, make_snapshot


@pytest.fixture(scope="module")
def model():
    placements = learnable_placements(200)
    rows = {p.pod_uid: placement_row(p, weights=Weights()) for p in placements}
    learnt = training_set(rows, feedback=(), since_s=0.0, max_rows=1000)
    classifier = RandomForestClassifier(n_estimators=20, max_depth=5, random_state=1)
    classifier.fit(learnt.X, learnt.y.astype(int))
    return Model(
        version=1,
        forest=PackedForest.pack(classifier),
        calibration=Calibration(slope=0.8, intercept=-0.3),
    )


def make_ratings(*nodes, model=None, n_shapes=1):
    snapshot = make_snapshot(*nodes)
    shapes = [
        PodShape(cpu_milli=500 * (i + 1), memory_bytes=GIB, workload_failure_rate=0.05)
        for i in range(n_shapes)
    ]
    return rate(
        shapes,
        nodes=NodeColumns.of(nodes),
        cluster=snapshot.cluster,
        weights=Weights(),
        model=model,
    )


def write_down(rating, *, model, explain):
    return node_predictions(rating, order=rating.best_first(), model=model, explain=explain)


FULL = make_node_state("full", usage_memory_bytes=15 * GIB)
FREE = make_node_state("free", usage_memory_bytes=2 * GIB)


def test_the_best_node_comes_first(model):
    for asked in (None, model):
        [rating] = make_ratings(FULL, FREE, model=asked)
        names = [n.node_name for n in write_down(rating, model=asked, explain=False)]
        assert names == ["free", "full"]


def test_equal_nodes_come_in_the_order_of_their_names():
    [rating] = make_ratings(make_node_state("b"), make_node_state("a"), make_node_state("c"))

    nodes = write_down(rating, model=None, explain=False)

    assert [n.node_name for n in nodes] == ["a", "b", "c"]


def test_nodes_that_the_model_cannot_tell_apart_come_by_free_resources(model):
    busier = make_node_state("a", usage_memory_bytes=2 * GIB + 2**20)
    [rating] = make_ratings(busier, FREE, model=model)

    assert rating.p_success[0] == rating.p_success[1]
    assert rating.best_first().tolist() == [1, 0]


def test_nodes_that_are_not_ready_come_last():
    [rating] = make_ratings(make_node_state("idle", is_ready=False, usage_cpu_milli=0), FULL)

    assert rating.best_first().tolist() == [1, 0]


def test_contributions_sum_to_the_score(model):
    for asked in (None, model):
        [rating] = make_ratings(FULL, FREE, model=asked)
        for node in write_down(rating, model=asked, explain=True):
            total = sum(node.contributions.values())
            assert round(total) == node.score
            if asked is not None:
                assert total == pytest.approx(100 * node.ml_confidence)


def test_the_model_names_what_speaks_against_a_node(model):
    [rating] = make_ratings(FULL, FREE, model=model)

    worst = write_down(rating, model=model, explain=True)[-1]

    assert min(worst.contributions, key=worst.contributions.get) == "node_memory_utilization"


def test_many_shapes_are_rated_as_each_alone(model):
    nodes = [make_node_state(f"n{i}", usage_memory_bytes=i * GIB) for i in range(16)]

    together = make_ratings(*nodes, model=model, n_shapes=10)

    for i, rating in enumerate(together):
        alone = make_ratings(*nodes, model=model, n_shapes=i + 1)[-1]
        assert np.allclose(rating.p_success, alone.p_success)
        assert rating.scores.tolist() == alone.scores.tolist()


def test_an_estimate_where_no_step_changes_anything_is_all_bias():
    matrix = np.zeros((10, 13), dtype=np.float32)
    classifier = RandomForestClassifier(n_estimators=3).fit(matrix, [0, 1] * 5)
    flat = Model(
        version=1, forest=PackedForest.pack(classifier), calibration=Calibration(slope=2.0)
    )

    [row] = flat.explain(matrix[:1])

    assert sum(row.values()) == pytest.approx(row["bias"])
    assert row["bias"] == pytest.approx(100 * flat.predict_p_success(matrix[:1])[0])
