import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.contract import NodeTaint
from predictor.features import NodeColumns
from predictor.scoring import Weights, enhanced_scores, load_scores
from tests.predictor_world import GIB, make_node_state


def score(*nodes, weights=None, cpu_milli=1000, memory_bytes=4 * GIB):
    return enhanced_scores(
        NodeColumns.of(nodes),
        cpu_milli=cpu_milli,
        memory_bytes=memory_bytes,
        weights=weights or Weights(),
    )


def test_an_idle_sound_node_loses_only_what_the_pod_takes():
    idle = make_node_state(usage_cpu_milli=0, usage_memory_bytes=0)

    scores = score(idle)

    assert scores.score.tolist() == [0.75 * 30 + 0.75 * 30 + 20 + 10 + 5 + 5]
    assert scores.resource_score.tolist() == [0.75]
    assert scores.readiness_score.tolist() == [1.0]
    assert scores.stability_score.tolist() == [1.0]


@pytest.mark.parametrize(
    ("worse", "part"),
    [
        pytest.param({"usage_cpu_milli": 3000}, "resource_score", id="cpu"),
        pytest.param({"usage_memory_bytes": 12 * GIB}, "resource_score", id="memory"),
        pytest.param({"is_ready": False}, "readiness_score", id="not ready"),
        pytest.param(
            {"taints": [NodeTaint(key="k", effect="NoSchedule")]}, "readiness_score", id="taint"
        ),
        pytest.param({"n_failed_pods": 3}, "stability_score", id="failed pods"),
        pytest.param({"n_restarts": 3}, "stability_score", id="restarts"),
    ],
)
def test_what_is_worse_scores_less(worse, part):
    scores = score(make_node_state("good"), make_node_state("bad", **worse))

    good, bad = scores.score
    good_part, bad_part = getattr(scores, part)
    assert bad < good
    assert bad_part < good_part


def test_a_node_that_would_be_overfull_gets_nothing_for_it_and_no_less():
    full = make_node_state(usage_cpu_milli=4000, usage_memory_bytes=16 * GIB)

    assert score(full).resource_score.tolist() == [0.0]


weight = st.floats(0, 100)


@given(
    weights=st.builds(Weights, cpu=st.floats(0.1, 100), memory=weight, node_ready=weight),
    usage=st.integers(0, 8000),
    restarts=st.integers(0, 1000),
)
def test_contributions_sum_to_a_score_between_0_and_100(weights, usage, restarts):
    node = make_node_state(usage_cpu_milli=usage, n_restarts=restarts)

    scores = score(node, weights=weights)

    assert scores.contributions.sum() == pytest.approx(scores.score[0])
    assert 0 <= scores.score[0] <= 100 + 1e-9
    assert (scores.contributions >= 0).all()


def test_parts_without_weight_are_still_rated():
    weights = Weights(failed_pods=0, restart=0)

    scores = score(make_node_state(), weights=weights)

    assert np.isfinite(scores.stability_score).all()


def test_load_counts_little_on_half_empty_nodes_and_much_on_nearly_full_ones():
    nodes = NodeColumns.of(
        [make_node_state(usage_cpu_milli=used, usage_memory_bytes=0) for used in (0, 2000, 3600)]
    )

    empty, half, full = load_scores(nodes, cpu_milli=0, memory_bytes=0)

    assert empty == pytest.approx(100.0)
    assert half == pytest.approx(75.0)
    assert full == pytest.approx(25.0)
