import pytest

from predictor.summary import summaries
from tests.predictor_world import GIB, make_node_state


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param(
            {"usage_memory_bytes": 14 * GIB, "n_oom_kills": 4},
            "n3: memory 94 % used after placement, 4 OOM kills in 7 d",
            id="full",
        ),
        pytest.param(
            {"usage_cpu_milli": 3000, "n_observations": 12},
            "n3: CPU 88 % used after placement, no failures in 7 d (12 placements seen)",
            id="healthy",
        ),
        pytest.param(
            {"usage_memory_bytes": 14 * GIB, "usage_cpu_milli": 3500},
            "n3: memory 94 % used after placement, CPU 100 % used after placement, "
            "no placement seen yet",
            id="both full",
        ),
        pytest.param(
            {"usage_memory_bytes": None, "n_restarts": 1, "n_evictions": 2},
            "n3: memory 56 % requested after placement, 2 evictions, 1 restart in 7 d",
            id="never sampled",
        ),
        pytest.param(
            {"is_ready": False, "is_schedulable": False, "pressures": ["MemoryPressure"]},
            "n3: not ready, cordoned, MemoryPressure, CPU 38 % used after placement, "
            "no placement seen yet",
            id="out of order",
        ),
    ],
)
def test_says_what_an_operator_would_look_at_first(fields, said):
    node = make_node_state("n3", **fields)

    assert summaries([node], cpu_milli=500, memory_bytes=GIB) == [said]
