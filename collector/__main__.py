"""``python -m collector``: watches a cluster and answers until told to stop."""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from collector.api import make_app
from collector.archive import Archive
from collector.collecting import Collector
from collector.database import StoreError, open_database
from collector.settings import CollectorSettings
from collector.sources import MetricsApi
from collector.store import Store
from kube.client import Client
from kube.config import Cluster, load_cluster
from kube.edge.logs import configure_logs, facts
from kube.edge.serve import Server
from kube.edge.settings import SettingsError, default_path, load_settings
from kube.errors import ConfigError

log = logging.getLogger("collector")


def main(argv: Sequence[str], *, env: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT.

    Returns:
        0 after a normal end, 2 if the settings or the kubeconfig are unusable, 1 if the address or
        the database is, or if a watch failed for good.
    """
    parser = argparse.ArgumentParser(prog="python -m collector", description=__doc__)
    parser.add_argument("--config", type=Path, help="settings (default: config/collector.yaml)")
    arguments = parser.parse_args(argv)
    try:
        settings = load_settings(
            CollectorSettings,
            path=arguments.config or default_path("collector"),
            env=env,
            prefix="COLLECTOR",
        )
        cluster = load_cluster(
            kubeconfig=settings.kubernetes.kubeconfig_path or None,
            in_cluster=settings.kubernetes.in_cluster,
            env=env,
        )
    except (SettingsError, ConfigError) as error:
        sys.stderr.write(f"collector: {error}\n")
        return 2
    configure_logs(settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        return _serve(settings, cluster=cluster, stop=stop)
    except SettingsError as error:
        sys.stderr.write(f"collector: {error}\n")
        return 2
    except (OSError, StoreError) as error:
        sys.stderr.write(f"collector: {error}\n")
        return 1


def _serve(settings: CollectorSettings, *, cluster: Cluster, stop: threading.Event) -> int:
    now_text = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    database = open_database(settings.database.url, now_text=now_text)
    metrics = settings.metrics
    client = Client(cluster, user_agent="ai-scheduler-collector")
    collector = Collector(
        client,
        source=MetricsApi(client),
        store=Store(database, first_seq=time.time_ns() // 1_000_000),
        archive=Archive(database, raw_s=metrics.raw_duration, keep_s=metrics.cache_duration),
        settings=settings,
    )
    with collector, Server(make_app(collector), settings=settings.server) as server:
        log.info("serving", extra=facts(url=server.url, api_server=cluster.server))
        while not stop.wait(1.0):
            if collector.failure is not None:
                log.critical("a watch failed for good", extra=facts(why=repr(collector.failure)))
                return 1
    database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], env=os.environ))
