"""Who is asked what nodes use."""

import pytest

from collector.settings import PrometheusQueries
from scheduler.cluster.usage.choice import chosen, make_source
from scheduler.cluster.usage.collector import CollectorSource
from scheduler.cluster.usage.load_watcher import LoadWatcherSource
from scheduler.errors import ConfigError
from scheduler.framework.configuration import read_configuration
from scheduler.framework.profile import make_profiles
from scheduler.plugins.defaults import built_in_registry
from scheduler.settings import UsageQueries, UsageSettings

PROMETHEUS = {"type": "Prometheus", "address": "https://p:9090", "token": "t"}


def profiles_with(**providers):
    """Make a profile for each, with TargetLoadPacking and its provider."""
    registry = built_in_registry()
    profiles = [
        {
            "schedulerName": name,
            "plugins": {"multiPoint": {"enabled": [{"name": "TargetLoadPacking"}]}},
            "pluginConfig": [{"name": "TargetLoadPacking", "args": {"metricProvider": provider}}]
            if provider is not None
            else [],
        }
        for name, provider in providers.items()
    ]
    document = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "profiles": profiles,
    }
    return make_profiles(read_configuration(document, registry=registry), registry=registry)


def test_the_collector_is_asked_unless_something_else_is_said():
    settings = UsageSettings(url="http://collector:8080")

    found = chosen(settings, profiles=profiles_with(a=None))

    assert found == settings
    assert isinstance(make_source(found, client=Clock()), CollectorSource)


def test_prometheus_is_asked_what_the_collector_asks_it():
    theirs, ours = PrometheusQueries(), UsageQueries()

    assert (ours.node_cpu, ours.node_memory) == (theirs.node_cpu, theirs.node_memory)


class Clock:
    def now_s(self):
        return 0.0


def test_a_plugins_provider_outdoes_the_settings_for_all():
    metrics = chosen(UsageSettings(), profiles=profiles_with(a=None, b={}))
    prometheus = chosen(UsageSettings(), profiles=profiles_with(a=PROMETHEUS, b=None))

    assert metrics.provider == "metrics.k8s.io"
    assert prometheus.provider == "prometheus"
    asked = prometheus.prometheus
    assert (asked.url, asked.token, asked.insecure_skip_verify) == ("https://p:9090", "t", False)


def profiles_of(*arguments):
    """Make a profile for each plugin with its arguments."""
    registry = built_in_registry()
    document = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "profiles": [
            {
                "schedulerName": plugin,
                "plugins": {"score": {"enabled": [{"name": plugin}]}},
                "pluginConfig": [{"name": plugin, "args": args}],
            }
            for plugin, args in arguments
        ],
    }
    return make_profiles(read_configuration(document, registry=registry), registry=registry)


WATCHED = {"watcherAddress": "http://w:2020"}


def test_a_load_watcher_outdoes_the_settings_and_a_provider():
    both = {**WATCHED, "metricProvider": {"type": "KubernetesMetricsServer"}}

    found = chosen(
        UsageSettings(), profiles=profiles_of(("Peaks", WATCHED), ("TargetLoadPacking", both))
    )

    assert (found.provider, found.watcher_url) == ("load-watcher", "http://w:2020")
    assert isinstance(make_source(found, client=Clock()), LoadWatcherSource)


def test_a_load_watcher_and_another_provider_are_refused():
    mixed = profiles_of(("Peaks", WATCHED), ("TargetLoadPacking", {"metricProvider": PROMETHEUS}))

    with pytest.raises(ConfigError, match="'Peaks', Peaks and profile 'TargetLoadPacking', Target"):
        chosen(UsageSettings(), profiles=mixed)


def test_two_providers_are_refused_by_the_names_of_who_named_them():
    other = {"type": "Prometheus", "address": "http://q"}

    with pytest.raises(ConfigError, match="'a', TargetLoadPacking and profile 'b', Target"):
        chosen(UsageSettings(), profiles=profiles_with(a=PROMETHEUS, b=other))
