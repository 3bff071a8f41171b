"""``python -m collector``: watches a cluster and answers until told to stop.

``python -m collector import`` and ``export`` take history from files, and write it to files.
"""

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime

from collector import commands
from collector.api import make_app
from collector.archive import Archive
from collector.backfill import Backfill
from collector.claim import claiming
from collector.collecting import Collector
from collector.database import StoreError, open_database
from collector.prometheus_past import PrometheusPast
from collector.prometheus_source import PrometheusSource
from collector.settings import CollectorSettings, MetricsSettings
from collector.sources import MetricsApi, MetricsSource
from collector.store import Store
from kube.client import Client
from kube.config import load_cluster
from kube.edge.heap import expect_large_heap
from kube.edge.logs import facts
from kube.edge.program import FAILED, STOPPED, Start, StartError, run
from kube.edge.prometheus import PrometheusApi
from kube.edge.serve import Server

log = logging.getLogger("collector")


def main(arguments: Sequence[str], *, env: Mapping[str, str]) -> int:
    """Serve until told to stop, or import or export history; give the exit code.

    They are those of ``kube.edge.program.run``.
    """
    if arguments[:1] and arguments[0] in commands.NAMES:
        return commands.run_command(arguments, env=env)
    return run(
        "collector", arguments=arguments, env=env, settings_type=CollectorSettings, serve=_serve
    )


def _serve(start: Start[CollectorSettings]) -> int:
    try:
        return _collect(start)
    except StoreError as error:
        raise StartError(str(error)) from error


def _collect(start: Start[CollectorSettings]) -> int:
    settings = start.settings
    expect_large_heap()
    cluster = load_cluster(
        kubeconfig=settings.kubernetes.kubeconfig_path or None,
        in_cluster=settings.kubernetes.in_cluster,
        env=start.env,
    )
    now_text = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    metrics = settings.metrics
    client = Client(cluster, user_agent="ai-scheduler-collector")
    with ExitStack() as stack:
        database = stack.enter_context(
            closing(open_database(settings.database.url, now_text=now_text))
        )
        stack.enter_context(claiming(settings.database.url))
        collector = Collector(
            client,
            source=_source(client, settings=metrics, stack=stack),
            store=Store(database, first_seq=time.time_ns() // 1_000_000),
            archive=Archive(database, raw_s=metrics.raw_duration, keep_s=metrics.cache_duration),
            settings=settings,
        )
        # Its address first: whoever cannot have it should not have begun to collect.
        server = Server(make_app(collector), settings=settings.server)
        stack.enter_context(collector)
        stack.enter_context(server)
        if metrics.source == "prometheus" and metrics.prometheus.backfill:
            # Connections of its own: it asks while the live rounds do.
            api = stack.enter_context(
                closing(PrometheusApi(metrics.prometheus, name="metrics.prometheus"))
            )
            past = PrometheusPast(api, settings=metrics.prometheus)
            stack.enter_context(Backfill(past, settings=metrics, collector=collector))
        log.info("serving", extra=facts(url=server.url, api_server=cluster.server))
        while not start.stop.wait(1.0):
            if collector.failure is not None:
                log.critical("a watch failed for good", extra=facts(why=repr(collector.failure)))
                return FAILED
    return STOPPED


def _source(client: Client, *, settings: MetricsSettings, stack: ExitStack) -> MetricsSource:
    if settings.source == "metrics.k8s.io":
        return MetricsApi(client)
    api = stack.enter_context(
        closing(PrometheusApi(settings.prometheus, name="metrics.prometheus"))
    )
    return PrometheusSource(api, settings=settings.prometheus, now_s=client.now_s)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], env=os.environ))
