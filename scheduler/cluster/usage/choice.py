"""Who is asked what nodes use: as the settings say, unless a profile's plugins say otherwise."""

from collections.abc import Iterator, Mapping

import msgspec

from kube.client import Client
from kube.edge.prometheus import PrometheusApi
from kube.edge.settings import SettingsError
from scheduler.cluster.usage.collector import CollectorSource
from scheduler.cluster.usage.load_watcher import LoadWatcherSource
from scheduler.cluster.usage.metrics_server import MetricsServerSource
from scheduler.cluster.usage.prometheus import PrometheusSource
from scheduler.cluster.usage.source import UsageSource
from scheduler.errors import ConfigError
from scheduler.framework.profile import Profile
from scheduler.plugins.load.arguments import LoadArgs, MetricProvider
from scheduler.settings import UsageSettings


def chosen(settings: UsageSettings, *, profiles: Mapping[str, Profile]) -> UsageSettings:
    """Let ``watcherAddress`` and ``metricProvider`` of plugins' arguments outdo the settings.

    Raises:
        ConfigError: Two plugins name different providers; usage is asked for once, for all.
    """
    named = list(_named(profiles))
    if not named:
        return settings
    first, provider = named[0]
    for other, another in named:
        if another != provider:
            raise ConfigError(
                f"{first} and {other} name different metricProviders (or watcherAddresses):"
                " all plugins see one usage"
            )
    if isinstance(provider, str):
        return msgspec.structs.replace(settings, provider="load-watcher", watcher_url=provider)
    if provider.type == "KubernetesMetricsServer":
        return msgspec.structs.replace(settings, provider="metrics.k8s.io")
    prometheus = msgspec.structs.replace(
        settings.prometheus,
        url=provider.address,
        token=provider.token,
        token_file="" if provider.token else settings.prometheus.token_file,
        insecure_skip_verify=provider.insecure_skip_verify,
    )
    return msgspec.structs.replace(settings, provider="prometheus", prometheus=prometheus)


def make_source(settings: UsageSettings, *, client: Client) -> UsageSource:
    """Make the one to ask.

    Args:
        settings: Who that is.
        client: The API server.

    Raises:
        SettingsError: A file of Prometheus' settings cannot be read.
    """
    window_s = float(settings.window)
    match settings.provider:
        case "metrics.k8s.io":
            return MetricsServerSource(client)
        case "collector":
            return CollectorSource(
                settings.url,
                timeout_s=float(settings.timeout),
                window_s=window_s,
                now_s=client.now_s,
            )
        case "load-watcher":
            return LoadWatcherSource(
                settings.watcher_url, timeout_s=float(settings.timeout), now_s=client.now_s
            )
        case "prometheus":
            prometheus = settings.prometheus
            if prometheus.token and prometheus.token_file:
                raise SettingsError("usage.prometheus: token and token_file exclude each other")
            api = PrometheusApi(
                prometheus,
                name="usage.prometheus",
                token=prometheus.token,
                believes_all=prometheus.insecure_skip_verify,
            )
            return PrometheusSource(api, settings=prometheus, window_s=window_s, now_s=client.now_s)


def _named(profiles: Mapping[str, Profile]) -> Iterator[tuple[str, MetricProvider | str]]:
    """Say which plugins name whom; a load-watcher by its address."""
    for scheduler, profile in profiles.items():
        for plugin in profile.plugins().values():
            args = plugin.args
            provider = args.provider if isinstance(args, LoadArgs) else None
            if provider is not None:
                yield f"profile {scheduler!r}, {plugin.name}", provider
