"""The simulated cluster as environments for learning: ``ClusterEnv-v0`` and its relatives.

``gymnasium.make("ClusterEnv-v0", scenario=…)`` finds it without an import, by its entry point.
"""

from typing import Final

from gymnasium.envs.registration import register, registry

ENV_ID: Final = "ClusterEnv-v0"


def register_envs() -> None:
    """Tell Gymnasium of the environments; to be told again does no harm."""
    if ENV_ID not in registry:
        register(id=ENV_ID, entry_point="scheduler.simulator.gym.env:ClusterEnv")


register_envs()
