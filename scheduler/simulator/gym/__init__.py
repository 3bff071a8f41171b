"""The simulated cluster as environments for learning: ``ClusterEnv-v0`` and its relatives.

Importing this package registers it, and Gymnasium imports it by the name before the colon::

    gymnasium.make("scheduler.simulator.gym:ClusterEnv-v0", scenario="uniform.yaml")
"""

from typing import Final

from gymnasium.envs.registration import register

ENV_ID: Final = "ClusterEnv-v0"

register(id=ENV_ID, entry_point="scheduler.simulator.gym.env:ClusterEnv")
