"""The shipped profiles of ``mixed``: what they run, and what the scheduler then watches."""

from pathlib import Path

from kube.custom import PodGroup, PriorityClass, SeccompProfile
from scheduler.engine import Engine, EngineSettings
from scheduler.framework.configuration import load_configuration
from scheduler.framework.profile import make_profiles
from scheduler.plugins.defaults import built_in_registry

SHIPPED = Path(__file__).parents[3] / "config" / "profiles" / "mixed.yaml"


def test_the_profiles_run_what_they_say():
    registry = built_in_registry()
    profiles = make_profiles(load_configuration(SHIPPED, registry=registry), registry=registry)
    usual, by_metadata, across = profiles.values()

    def preempting(profile):
        return [plugin.name for plugin in profile.post_filter]

    assert {profile.queue_sort.name for profile in profiles.values()} == {"QOSSort"}
    assert preempting(usual) == ["PreemptionToleration"]
    assert preempting(across)[-2:] == ["DefaultPreemption", "CrossNodePreemption"]
    assert (usual.weights["SySched"], usual.weights["PodState"]) == (5, 1)
    assert by_metadata.weights["NodeMetadata"] == 5
    engine = Engine(profiles, settings=EngineSettings())
    assert engine.reads == {PodGroup, PriorityClass, SeccompProfile}
