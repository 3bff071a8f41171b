"""``python -m scheduler``: schedules pods on the cluster that a kubeconfig names.

``python -m scheduler conformance FILE``: see ``scheduler.conformance``.
``python -m scheduler explain NAMESPACE/POD``: see ``scheduler.explain``.
"""

import logging
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from kube.client import Client
from kube.config import Cluster, load_cluster
from kube.edge.heap import expect_large_heap
from kube.edge.logs import facts
from kube.edge.program import FAILED, STOPPED, Start, run
from kube.edge.serve import Server
from scheduler import explain
from scheduler.api import make_app
from scheduler.cluster.decisions import DecisionLog
from scheduler.cluster.leader import LeaderElector, lease_client
from scheduler.cluster.metrics import Metrics
from scheduler.cluster.shell import ClusterShell
from scheduler.cluster.supervisor import Supervisor
from scheduler.cluster.usage.choice import chosen
from scheduler.conformance import command as conformance
from scheduler.engine import Engine, EngineSettings
from scheduler.errors import ConfigError
from scheduler.extender.routes import MAX_BODY_BYTES, Extender
from scheduler.framework.configuration import KubeSchedulerConfiguration, load_configuration
from scheduler.framework.leader_election import LeaderElectionConfiguration
from scheduler.framework.metering import metered
from scheduler.framework.profile import Profile, make_profiles
from scheduler.framework.registry import Registry
from scheduler.plugins.defaults import built_in_configuration, built_in_registry
from scheduler.predictions import PredictionSettings
from scheduler.queue import QueueSettings
from scheduler.settings import ExtenderSettings, SchedulerSettings

log = logging.getLogger("scheduler")

_COMMANDS: Final = {"conformance": conformance.run, "explain": explain.run}


def main(arguments: Sequence[str], *, env: Mapping[str, str]) -> int:
    """Schedule until told to stop; give the exit code of ``kube.edge.program.run``.

    ``conformance FILE`` instead compares our decisions with recorded ones, and
    ``explain NAMESPACE/POD`` asks a running scheduler about one.
    """
    if arguments and arguments[0] in _COMMANDS:
        return _COMMANDS[arguments[0]](arguments[1:], out=sys.stdout, err=sys.stderr)
    return run(
        "scheduler", arguments=arguments, env=env, settings_type=SchedulerSettings, serve=_serve
    )


def _load_profiles(
    settings: SchedulerSettings, *, beside: Path | None, registry: Registry
) -> KubeSchedulerConfiguration:
    """Read the profiles.

    Raises:
        ConfigError: They cannot be read, or contradict themselves.
    """
    if not settings.profile_path:
        return built_in_configuration()
    path = (beside.parent if beside is not None else Path()) / settings.profile_path
    if not path.is_file():
        raise ConfigError(f"profile_path: there is no file {path}")
    try:
        configuration = load_configuration(path, registry=registry)
        # Each state is built with profiles of its own; these tell what is wrong before any is.
        profiles = make_profiles(configuration, registry=registry)
        chosen(settings.usage, profiles=profiles)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    _tell_lacks(profiles)
    return configuration


def _tell_lacks(profiles: Mapping[str, Profile]) -> None:
    for name, profile in profiles.items():
        for plugin in profile.plugins().values():
            if plugin.lacks:
                given = facts(profile=name, plugin=plugin.name, lacks=plugin.lacks)
                log.warning("a plugin has no opinion for now", extra=given)


def _serve(start: Start[SchedulerSettings]) -> int:
    settings = start.settings
    expect_large_heap()
    registry = built_in_registry()
    registry.add_installed()
    configuration = _load_profiles(settings, beside=start.path, registry=registry)
    if configuration.client_connection.kubeconfig:
        log.warning("clientConnection.kubeconfig is not read: kubernetes.kubeconfig_path is")
    names = [profile.scheduler_name for profile in configuration.profiles]
    extender_profile = _extender_profile(settings.extender, names=names)
    cluster = load_cluster(
        kubeconfig=settings.kubernetes.kubeconfig_path or None,
        in_cluster=settings.kubernetes.in_cluster,
        env=start.env,
    )
    metrics = Metrics(CollectorRegistry())
    metrics.know_profiles(names)
    decisions = DecisionLog(settings.decisions.keep)
    rng = random.Random()
    with (
        Client(cluster, pool_size=settings.binding.threads + 8) as client,
        _elector(cluster, settings=configuration.leader_election, metrics=metrics) as elector,
    ):

        def make_shell() -> ClusterShell:
            made = make_profiles(configuration, registry=registry)
            profiles = {name: metered(each, meter=metrics.meter) for name, each in made.items()}
            return ClusterShell(
                client,
                engine=Engine(profiles, settings=engine_settings(settings, configuration)),
                settings=settings,
                metrics=metrics,
                rng=rng,
                decisions=decisions,
                is_leader=lambda: elector is None or elector.is_leader,
            )

        supervisor = Supervisor(make_shell, elector=elector, rebuilds=metrics.rebuilds)
        extender = Extender(
            shell=supervisor,
            profile=extender_profile,
            timeout_s=settings.extender.timeout,
        )
        app = make_app(
            decisions,
            registry=metrics.registry,
            not_ready=supervisor.not_ready,
            extender=extender,
        )
        with Server(app, settings=settings.server, max_body_read_bytes=MAX_BODY_BYTES) as server:
            log.info("scheduler started", extra=facts(url=server.url, profiles=names))
            is_well = supervisor.run(start.stop)
    if not is_well:
        log.error("scheduler failed")
        return FAILED
    log.info("scheduler stopped")
    return STOPPED


def _extender_profile(settings: ExtenderSettings, *, names: Sequence[str]) -> str:
    if settings.profile and settings.profile not in names:
        raise ConfigError(
            f"extender.profile: {settings.profile!r} is none of the profiles {', '.join(names)}"
        )
    return settings.profile or names[0]


@contextmanager
def _elector(
    cluster: Cluster, *, settings: LeaderElectionConfiguration, metrics: Metrics
) -> Iterator[LeaderElector | None]:
    """Make the elector, if there is to be one."""
    if not settings.leader_elect:
        yield None
        return
    with lease_client(cluster, settings=settings) as client:
        elector = LeaderElector(client, settings=settings, rng=random.Random())
        metrics.leader.labels(settings.resource_name).set_function(lambda: elector.is_leader)
        yield elector


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
