"""The shipped profile ``all``: no plugin is forgotten when their cost together is measured."""

from pathlib import Path

from scheduler.framework.configuration import load_configuration
from scheduler.framework.profile import make_profiles
from scheduler.plugins.defaults import built_in_registry
from tests.bench.every_plugin import mixed_pods, run_every_plugin

SHIPPED = Path(__file__).parents[3] / "config" / "profiles" / "all.yaml"
LEFT_OUT = {"LearnedPolicy", "OnePodPerNode", "QOSSort", "TopologicalSort"}
OUTDONE = {"PrioritySort"}


def shipped_profile():
    registry = built_in_registry()
    loaded = make_profiles(load_configuration(SHIPPED, registry=registry), registry=registry)
    [profile] = loaded.values()
    return profile, registry


def test_every_registered_plugin_is_on_or_said_to_be_left_out():
    profile, registry = shipped_profile()
    registered = {plugin.name for plugin in registry}
    header = SHIPPED.read_text().partition("apiVersion")[0]

    assert set(profile.plugins()) == registered - LEFT_OUT - OUTDONE
    assert all(name in header for name in LEFT_OUT)


def test_whoever_evicts_with_the_most_care_is_asked_first():
    profile, _ = shipped_profile()

    asked = [plugin.name for plugin in profile.post_filter]

    assert asked == [
        "PreemptionToleration",
        "CapacityScheduling",
        "DefaultPreemption",
        "CrossNodePreemption",
        "Coscheduling",
    ]


def test_all_plugins_have_something_to_do_and_break_no_rule_together():
    cost, _ = run_every_plugin(mixed_pods, n_nodes=150, n_running=100, n_measured=40)

    assert cost.n_pods > 40
