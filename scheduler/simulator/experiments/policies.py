"""The policies that are compared, each a profile of kube-scheduler's own format.

Besides the names below, a policy may be a profile file (``--policies kube-default,mine.yaml``), or
a network that ``train`` exported (``mine.onnx``), which then rates nodes alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from scheduler.errors import ConfigError
from scheduler.framework.configuration import (
    KubeSchedulerConfiguration,
    load_configuration,
    read_configuration,
)
from scheduler.framework.profile import Profile, make_profiles
from scheduler.plugins.defaults import PREDICTION_WEIGHT, SCHEDULER_NAME, built_in_registry
from scheduler.plugins.learned.policy import LearnedPolicy
from scheduler.plugins.prediction import PREDICTED, NodeLoad, NodePrediction

Predictor = Literal["none", "untrained", "learning"]
"""Which predictor the scheduler has beside it: none, one that never trains (so that its enhanced
scoring answers), or one that learns."""

BASELINE: Final = "kube-default"

_PREDICTION: Final = {
    "multiPoint": {
        "enabled": [
            {"name": plugin.name, "weight": PREDICTION_WEIGHT}
            for plugin in (NodePrediction, NodeLoad)
        ]
    }
}
_BUILT_IN: Final[dict[str, tuple[dict[str, object], Predictor]]] = {
    BASELINE: ({}, "none"),
    "most-allocated": (
        {
            "pluginConfig": [
                {
                    "name": "NodeResourcesFit",
                    "args": {
                        "scoringStrategy": {
                            "type": "MostAllocated",
                            "resources": [
                                {"name": "cpu", "weight": 1},
                                {"name": "memory", "weight": 1},
                            ],
                        }
                    },
                }
            ]
        },
        "none",
    ),
    "ai-untrained": ({"plugins": _PREDICTION}, "untrained"),
    "random": ({"plugins": {"score": {"disabled": [{"name": "*"}]}}}, "none"),
    "ai": ({"plugins": _PREDICTION}, "learning"),
}
NAMES: Final = tuple(_BUILT_IN)
NETWORK_SUFFIX: Final = ".onnx"


@dataclass(frozen=True, slots=True)
class Policy:
    """How a scheduler is set up."""

    name: str
    configuration: KubeSchedulerConfiguration
    predictor: Predictor

    def profiles(self) -> Mapping[str, Profile]:
        """Make its profiles, with plugins that know nothing yet."""
        return make_profiles(self.configuration, registry=built_in_registry())


def policy_of(name: str) -> Policy:
    """Find a policy by its name, or make one of a profile's or a network's file.

    Raises:
        ConfigError: There is none of that name, or the file is no profile for our pods, or holds no
            network that can be used.
    """
    if name in _BUILT_IN:
        profile, predictor = _BUILT_IN[name]
        return Policy(name, _configuration(profile), predictor)
    path = Path(name)
    if path.suffix == NETWORK_SUFFIX:
        policy = Policy(path.stem, _configuration(_learned(path)), "none")
        _complete_profiles(policy)
        return policy
    if not path.is_file():
        known = ", ".join(NAMES)
        raise ConfigError(
            f"{name!r} is no policy ({known}), no network ({NETWORK_SUFFIX}) and no profile file"
        )
    configuration = load_configuration(path, registry=built_in_registry())
    policy = Policy(path.stem, configuration, "learning")
    profiles = _complete_profiles(policy)
    if SCHEDULER_NAME not in profiles:
        raise ConfigError(f"{name}: no profile is called {SCHEDULER_NAME!r}")
    asks = not PREDICTED.isdisjoint(profiles[SCHEDULER_NAME].weights)
    return policy if asks else Policy(path.stem, configuration, "none")


def _complete_profiles(policy: Policy) -> Mapping[str, Profile]:
    """Make a policy's profiles; a plugin without what it needs would be measured for nothing.

    Raises:
        ConfigError: There is one, or the profiles cannot be made.
    """
    profiles = policy.profiles()
    for profile in profiles.values():
        for plugin in profile.plugins().values():
            if plugin.lacks:
                raise ConfigError(f"{policy.name}: {plugin.name}: {plugin.lacks}")
    return profiles


def _learned(path: Path) -> dict[str, object]:
    """Make a profile in which a network alone rates nodes."""
    enabled = {"enabled": [{"name": LearnedPolicy.name}]}
    return {
        "plugins": {"multiPoint": enabled, "score": {"disabled": [{"name": "*"}], **enabled}},
        "pluginConfig": [{"name": LearnedPolicy.name, "args": {"path": str(path)}}],
    }


def _configuration(profile: Mapping[str, object]) -> KubeSchedulerConfiguration:
    return read_configuration(
        {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "profiles": [{"schedulerName": SCHEDULER_NAME, **profile}],
        },
        registry=built_in_registry(),
    )
