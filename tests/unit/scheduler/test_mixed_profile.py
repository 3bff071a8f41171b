"""The shipped profiles of ``mixed``: what they run, and what the scheduler then watches."""

from pathlib import Path

import pytest

from kube.custom import PodGroup, PriorityClass, SeccompProfile
from kube.edge.settings import SettingsError
from scheduler.engine import Engine, EngineSettings
from scheduler.framework.configuration import load_configuration
from scheduler.framework.profile import make_profiles
from scheduler.plugins.defaults import built_in_registry

SHIPPED = Path(__file__).parents[3] / "config" / "profiles" / "mixed.yaml"


def test_the_profiles_run_what_they_say():
    registry = built_in_registry()
    profiles = make_profiles(load_configuration(SHIPPED, registry=registry), registry=registry)
    usual, by_metadata, across, alone = profiles.values()

    def preempting(profile):
        return [plugin.name for plugin in profile.post_filter]

    assert {profile.queue_sort.name for profile in profiles.values()} == {"QOSSort"}
    assert preempting(usual) == ["PreemptionToleration"]
    assert preempting(across)[-2:] == ["DefaultPreemption", "CrossNodePreemption"]
    assert (usual.weights["SySched"], usual.weights["PodState"]) == (5, 1)
    assert by_metadata.weights["NodeMetadata"] == 5
    assert [name for name, each in profiles.items() if "OnePodPerNode" in each.plugins()] == [
        alone.scheduler_name
    ]
    engine = Engine(profiles, settings=EngineSettings())
    assert engine.reads == {PodGroup, PriorityClass, SeccompProfile}


WRONG = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
  - pluginConfig: [{{name: {plugin}, args: {args}}}]
"""


@pytest.mark.parametrize(
    ("plugin", "args", "field"),
    [
        ("CrossNodePreemption", "{maxTrials: 1}", "maxTrials"),
        ("PodState", "{weight: 1}", "weight"),
        ("PreemptionToleration", "{minCandidateNodesPercentage: 101}", "minCandidateNodesPercent"),
        ("QOSSort", "{order: up}", "order"),
        ("SySched", "{defaultProfileName: ''}", "defaultProfileName"),
        ("SySched", "{defaultProfile: all}", "defaultProfile"),
    ],
)
def test_wrong_arguments_stop_the_scheduler_by_name(tmp_path, plugin, args, field):
    path = tmp_path / "profile.yaml"
    path.write_text(WRONG.format(plugin=plugin, args=args))

    with pytest.raises(SettingsError, match=field) as caught:
        load_configuration(path, registry=built_in_registry())

    assert plugin in str(caught.value)
