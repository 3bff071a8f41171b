"""``python -m scheduler``: schedules pods on the cluster that a kubeconfig names."""

import logging
import os
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from kube.client import Client
from kube.config import load_cluster
from kube.edge.logs import facts
from kube.edge.program import FAILED, STOPPED, Start, run
from kube.edge.serve import Server
from scheduler.api import make_app
from scheduler.cluster.metrics import Metrics
from scheduler.cluster.shell import ClusterShell
from scheduler.engine import Engine, EngineSettings
from scheduler.framework.configuration import KubeSchedulerConfiguration, load_configuration
from scheduler.framework.profile import make_profiles
from scheduler.plugins.defaults import built_in_configuration, built_in_registry
from scheduler.predictions import PredictionSettings
from scheduler.queue import QueueSettings
from scheduler.settings import SchedulerSettings

log = logging.getLogger("scheduler")


def main(arguments: Sequence[str], *, env: Mapping[str, str]) -> int:
    """Schedule until told to stop; give the exit code of ``kube.edge.program.run``."""
    return run(
        "scheduler", arguments=arguments, env=env, settings_type=SchedulerSettings, serve=_serve
    )


def _load_profiles(
    settings: SchedulerSettings, *, beside: Path | None
) -> KubeSchedulerConfiguration:
    if not settings.profile_path:
        return built_in_configuration()
    folder = beside.parent if beside is not None else Path()
    return load_configuration(folder / settings.profile_path, registry=built_in_registry())


def _serve(start: Start[SchedulerSettings]) -> int:
    settings = start.settings
    configuration = _load_profiles(settings, beside=start.path)
    profiles = make_profiles(configuration, registry=built_in_registry())
    cluster = load_cluster(
        kubeconfig=settings.kubernetes.kubeconfig_path or None,
        in_cluster=settings.kubernetes.in_cluster,
        env=start.env,
    )
    metrics = Metrics(CollectorRegistry())
    with Client(cluster, pool_size=settings.binding.threads + 8) as client:
        shell = ClusterShell(
            client,
            engine=Engine(profiles, settings=engine_settings(settings, configuration)),
            settings=settings,
            metrics=metrics,
            rng=random.Random(),
        )
        app = make_app(shell.decisions, registry=metrics.registry, not_ready=shell.not_ready)
        with Server(app, settings=settings.server) as server, shell:
            log.info("scheduler started", extra=facts(url=server.url, profiles=list(profiles)))
            while not start.stop.wait(0.2):
                if shell.failed.is_set():
                    log.error("scheduler failed")
                    return FAILED
    log.info("scheduler stopped")
    return STOPPED


def engine_settings(
    settings: SchedulerSettings, configuration: KubeSchedulerConfiguration
) -> EngineSettings:
    """Put together what the two files say."""
    return EngineSettings(
        queue=QueueSettings(
            initial_backoff_s=float(configuration.pod_initial_backoff_seconds),
            max_backoff_s=float(configuration.pod_max_backoff_seconds),
        ),
        prediction=PredictionSettings(max_age_s=settings.predictor.max_age),
        seed=settings.seed,
        max_binding=settings.binding.max_in_flight,
        n_recorded_nodes=settings.decisions.nodes_per_decision,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], env=os.environ))
