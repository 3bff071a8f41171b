import numpy as np
import pytest

from collector.contract import ClusterState
from predictor.features import FEATURES, ClusterColumns, NodeColumns, feature_matrix
from predictor.rows import (
    FeedbackRow,
    placement_row,
    placement_rows,
    placement_vectors,
    training_set,
)
from predictor.scoring import Weights, enhanced_scores
from predictor.snapshots import ClusterView
from tests.predictor_world import (
    FIRST_S,
    START_S,
    learnable_placements,
    make_node_state,
    make_placement,
    make_snapshot,
    make_workload,
)

VECTOR = np.arange(14, dtype=np.float32)


def make_rows(*placements):
    rows = {p.pod_uid: placement_row(p, weights=Weights()) for p in placements}
    return {uid: row for uid, row in rows.items() if row is not None}


def make_report(pod_uid="", *, success=False, vector=VECTOR, made_at_s=FIRST_S):
    return FeedbackRow(
        pod_uid=pod_uid,
        made_at_s=made_at_s,
        decided_at_s=made_at_s + 60,
        success=success,
        vector=vector,
    )


def join(rows, *feedback, since_s=0.0, max_rows=1000):
    return training_set(rows, feedback=feedback, since_s=since_s, max_rows=max_rows)


def test_a_placement_is_described_as_serving_would_have_described_it():
    nodes = [make_node_state("n1"), make_node_state("n2", usage_cpu_milli=3000, n_restarts=4)]
    workload = make_workload(failure_rate=0.2, n_observations=9)
    snapshot = make_snapshot(*nodes, workloads=(workload,))
    placement = make_placement(node=nodes[1], workload=workload, cluster=snapshot.cluster)
    asked = {"cpu_milli": placement.cpu_milli, "memory_bytes": placement.memory_bytes}

    [learnt_from] = placement_vectors([placement], weights=Weights())

    view = ClusterView.of(snapshot)
    served = feature_matrix(
        view.nodes,
        **asked,
        cluster=ClusterColumns.of([snapshot.cluster]),
        workload_failure_rate=view.failure_rate(placement.workload),
    )
    scored = enhanced_scores(NodeColumns.of(nodes), **asked, weights=Weights())
    assert learnt_from[:13].tolist() == served[1].tolist()
    assert learnt_from[13] == np.float32(scored.score[1])


def test_nothing_that_comes_later_changes_a_row():
    early = learnable_placements(40)
    before = join(make_rows(*early))

    # More placements, a report about another pod, and the same nodes in a worse state.
    later = learnable_placements(40, seed=8, start=41)
    after = join(make_rows(*early, *later), make_report("uid-77", made_at_s=START_S))

    assert after.n_rows == 80
    assert np.array_equal(after.X[:40], before.X)
    assert np.array_equal(after.y[:40], before.y)
    assert np.array_equal(after.enhanced_ratio[:40], before.enhanced_ratio)


def test_a_page_of_placements_makes_the_rows_that_each_alone_makes():
    placements = [
        make_placement(
            number,
            node=make_node_state(f"n{number % 4}", usage_cpu_milli=None if number % 3 else 70),
            success=None if number % 7 == 0 else number % 2 == 0,
            cpu_milli=100 * number,
            cluster=ClusterState(n_nodes=number, cpu_usage_ratio=number / 50),
            workload=make_workload(failure_rate=number / 100),
        )
        for number in range(1, 40)
    ]

    page = placement_rows(placements, weights=Weights(cpu=7))

    alone = {p.pod_uid: placement_row(p, weights=Weights(cpu=7)) for p in placements}
    assert list(page) == [uid for uid, row in alone.items() if row is not None]
    for uid, row in page.items():
        assert row.vector.tolist() == alone[uid].vector.tolist()
        assert (row.made_at_s, row.decided_at_s, row.success) == (
            alone[uid].made_at_s,
            alone[uid].decided_at_s,
            alone[uid].success,
        )


def test_an_outcome_that_is_not_known_yet_makes_no_row():
    assert placement_row(make_placement(success=None), weights=Weights()) is None


@pytest.mark.parametrize(
    ("seen", "reported", "success", "known_after_s"),
    [
        pytest.param(True, True, True, 60, id="healthy"),
        pytest.param(True, False, False, 60, id="only the reporter knows of a failure"),
        pytest.param(False, True, False, 70, id="only the collector does, as of starvation"),
        pytest.param(False, False, False, 60, id="both do"),
    ],
)
@pytest.mark.parametrize("vector", [VECTOR, None], ids=["predicted", "not predicted"])
def test_a_failure_that_either_side_knows_of_is_a_failure(
    seen, reported, success, known_after_s, vector
):
    rows = make_rows(make_placement(1, success=seen))

    joined = join(rows, make_report("uid-1", success=reported, vector=vector))

    assert joined.y.tolist() == [success]
    assert joined.decided_at_s.tolist() == [FIRST_S + known_after_s]
    assert joined.X[0].tolist() == rows["uid-1"].vector[:13].tolist()


def test_a_pod_that_the_collector_judged_is_described_by_its_placement_not_by_an_older_prediction():
    rows = make_rows(make_placement(1))
    asked_at_s = FIRST_S - 30

    joined = join(rows, make_report("uid-1", vector=VECTOR, made_at_s=asked_at_s))

    assert joined.made_at_s.tolist() == [rows["uid-1"].made_at_s]
    assert joined.X[0].tolist() == rows["uid-1"].vector[:13].tolist() != VECTOR[:13].tolist()


def test_a_pod_that_the_collector_did_not_judge_is_described_by_its_prediction():
    joined = join({}, make_report("uid-1", vector=VECTOR))

    assert joined.made_at_s.tolist() == [FIRST_S]
    assert joined.X[0].tolist() == VECTOR[:13].tolist()


def test_feedback_without_any_known_vector_is_not_learnt_from():
    assert join({}, make_report("uid-1", vector=None), make_report(vector=None)).n_rows == 0


def test_feedback_about_unnamed_pods_is_learnt_from_each_time():
    assert join({}, make_report(), make_report()).n_rows == 2


def test_rows_come_oldest_first_and_only_the_newest_are_kept():
    rows = make_rows(*(make_placement(number) for number in (3, 1, 2)))

    assert join(rows).made_at_s.tolist() == [FIRST_S + 10, FIRST_S + 20, FIRST_S + 30]
    assert join(rows, max_rows=2).made_at_s.tolist() == [FIRST_S + 20, FIRST_S + 30]
    assert join(rows, since_s=FIRST_S + 25).made_at_s.tolist() == [FIRST_S + 30]


def test_no_rows_have_the_shape_of_rows():
    empty = join({})

    assert empty.X.shape == (0, 13)
    assert empty.n_failures == 0


def test_a_workload_never_seen_has_the_prior_in_training_and_in_serving():
    placement = make_placement(workload=make_workload(failure_rate=0.125))
    view = ClusterView.of(make_snapshot(prior_failure_rate=0.125))

    column = FEATURES.index("workload_failure_rate")
    assert placement_vectors([placement], weights=Weights())[0, column] == np.float32(0.125)
    assert view.failure_rate("default/ReplicaSet/new") == 0.125
