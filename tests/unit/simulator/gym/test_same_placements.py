"""The environment's door and the batch door: one scheduler, the same pods on the same nodes."""

import pytest

from tests.doors import doors_scenario, through_batch_door, through_env


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_both_doors_lead_to_the_same_placements(seed):
    scenario = doors_scenario(hours=2.0)
    batch, env = through_batch_door(scenario, seed=seed), through_env(scenario, seed=seed)

    assert batch.happened["NodeFailed"] > 0
    assert batch.happened["PodEvicted"] > 0
    assert sum(map(len, batch.pods.values())) > 150
    assert any(len(pods) > 6 for name, pods in batch.pods.items() if "web" in name)  # rolled out
    assert env.happened == batch.happened
    assert env.pods == batch.pods
    assert len(batch.measured) > 100
    assert env.measured == batch.measured
