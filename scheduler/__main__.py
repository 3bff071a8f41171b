"""``python -m scheduler``: schedules pods on the cluster that a kubeconfig names."""

import argparse
import logging
import os
import random
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from kube.client import Client
from kube.config import load_cluster
from kube.edge.logs import configure_logs, facts
from kube.edge.serve import Server
from kube.edge.settings import SettingsError, default_path, load_settings
from kube.errors import ConfigError as KubeConfigError
from scheduler.api import make_app
from scheduler.cluster.metrics import Metrics
from scheduler.cluster.shell import ClusterShell, ShellSettings
from scheduler.engine import EngineSettings
from scheduler.errors import ConfigError
from scheduler.framework.configuration import KubeSchedulerConfiguration, load_configuration
from scheduler.framework.profile import Profile, make_profiles
from scheduler.plugins.defaults import built_in_configuration, built_in_registry
from scheduler.predictions import PredictionSettings
from scheduler.queue import QueueSettings
from scheduler.settings import SchedulerSettings

EXIT_FAILED: Final = 1
EXIT_MISCONFIGURED: Final = 2

log = logging.getLogger("scheduler")


def main(arguments: list[str], *, env: Mapping[str, str]) -> int:
    """Run until told to stop.

    Returns:
        The exit code: 0 stopped, 1 failed, 2 misconfigured.
    """
    parser = argparse.ArgumentParser(prog="python -m scheduler", description=__doc__)
    parser.add_argument("--config", type=Path, help="settings (default: config/scheduler.yaml)")
    options = parser.parse_args(arguments)
    path = options.config or default_path("scheduler")
    try:
        settings = load_settings(SchedulerSettings, path=path, env=env, prefix="SCHEDULER")
        configure_logs(settings.log_level)
        configuration = _load_profiles(settings, beside=path)
        profiles = make_profiles(configuration, registry=built_in_registry())
        cluster = load_cluster(
            kubeconfig=settings.kubernetes.kubeconfig_path or None,
            in_cluster=settings.kubernetes.in_cluster,
            env=env,
        )
        client = Client(cluster, pool_size=settings.binding.threads + 8)
    except (SettingsError, ConfigError, KubeConfigError) as error:
        sys.stderr.write(f"scheduler: {error}\n")
        return EXIT_MISCONFIGURED
    with client:
        return _serve(client, profiles=profiles, settings=settings, configuration=configuration)


def _load_profiles(
    settings: SchedulerSettings, *, beside: Path | None
) -> KubeSchedulerConfiguration:
    if not settings.profile_path:
        return built_in_configuration()
    folder = beside.parent if beside is not None else Path()
    return load_configuration(folder / settings.profile_path, registry=built_in_registry())


def _serve(
    client: Client,
    *,
    profiles: Mapping[str, Profile],
    settings: SchedulerSettings,
    configuration: KubeSchedulerConfiguration,
) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    metrics = Metrics(CollectorRegistry())
    shell = ClusterShell(
        client,
        profiles=profiles,
        settings=shell_settings(settings, configuration),
        metrics=metrics,
        rng=random.Random(),
    )
    app = make_app(shell.decisions, registry=metrics.registry, not_ready=shell.not_ready)
    try:
        server = Server(app, settings=settings.server)
    except OSError as error:
        sys.stderr.write(f"scheduler: {settings.server.host}:{settings.server.port}: {error}\n")
        return EXIT_MISCONFIGURED
    with server, shell:
        log.info("scheduler started", extra=facts(url=server.url, profiles=list(profiles)))
        while not stop.wait(0.2):
            if shell.failed.is_set():
                log.error("scheduler failed")
                return EXIT_FAILED
    log.info("scheduler stopped")
    return 0


def shell_settings(
    settings: SchedulerSettings, configuration: KubeSchedulerConfiguration
) -> ShellSettings:
    """Put together what the two files say."""
    return ShellSettings(
        engine=EngineSettings(
            queue=QueueSettings(
                initial_backoff_s=float(configuration.pod_initial_backoff_seconds),
                max_backoff_s=float(configuration.pod_max_backoff_seconds),
            ),
            prediction=PredictionSettings(max_age_s=settings.predictor.max_age),
            seed=settings.seed,
            max_binding=settings.binding.max_in_flight,
            n_recorded_nodes=settings.decisions.nodes_per_decision,
        ),
        predictor_url=settings.predictor.url,
        predictor_timeout_s=settings.predictor.timeout,
        observation_window_s=settings.feedback.observation_window,
        feedback_interval_s=settings.feedback.interval,
        n_bind_threads=settings.binding.threads,
        n_recorded_decisions=settings.decisions.keep,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], env=os.environ))
