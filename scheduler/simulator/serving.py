"""Serves a simulated cluster: the API server and the passage of time, on one event loop."""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import uvicorn
from prometheus_client import CollectorRegistry

from kube.edge.logs import facts
from kube.edge.settings import SettingsError
from kube.instants import rfc3339
from scheduler.simulator.apiserver.app import ApiServer, make_app
from scheduler.simulator.apiserver.faults import Faults
from scheduler.simulator.apiserver.settings import ApiServerSettings
from scheduler.simulator.clock import VirtualClock
from scheduler.simulator.cluster import Cluster
from scheduler.simulator.defaults import bootstrap_objects
from scheduler.simulator.experiments.scenario import Scenario
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.hardware import draw_nodes
from scheduler.simulator.manifests import load_manifests
from scheduler.simulator.store import DEFAULT_LOG_SIZE, Store
from scheduler.simulator.telemetry import SimulationMetrics

log = logging.getLogger(__name__)

STEP_S: Final = 0.1
"""Wall time between two steps of the world."""
BACKLOG: Final = 2048
NS_PER_VERSION: Final = 100_000
"""So many real nanoseconds pass for a version: more than 10,000 writes a second are not made."""
CATCH_UP_S: Final = 2.0
"""At most so much wall time is made up for in one step; what is beyond is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What the command line says."""

    host: str
    port: int
    n_nodes: int
    cpu_milli: int
    memory_bytes: int
    speed: float
    start_s: float
    seed: int
    token: str | None
    faults: Faults
    manifests: tuple[Path, ...] = ()
    """Files whose objects are created at the start."""
    scenario: Scenario | None = None
    """Whose nodes, users and fate the cluster has, from ``start_s`` on, instead of some nodes."""


def listen(host: str, *, port: int) -> socket.socket:
    """Take the address; port 0 takes any free one.

    Raises:
        SettingsError: It is taken, or no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)  # who connects early waits, and is not turned away
    except OSError as error:
        sock.close()
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return sock


def web_server(app: ApiServer, *, kind: type[uvicorn.Server] = uvicorn.Server) -> uvicorn.Server:
    """Make what carries an API server's bytes."""
    return kind(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,  # the app sends the cluster's own date
            timeout_graceful_shutdown=1,
        )
    )


async def serve(
    options: ServeOptions, *, sock: socket.socket, on_ready: Callable[[], None]
) -> None:
    """Serve until SIGTERM or SIGINT.

    A manifest that the server refuses stops it before it begins, by a ``SettingsError``.

    Args:
        options: The cluster's shape and pace.
        sock: What ``listen`` gave.
        on_ready: Called once clients are answered.
    """
    clock = VirtualClock(
        start_s=options.start_s,
        speed=options.speed,
        monotonic_s=time.monotonic,
        max_step_s=CATCH_UP_S * options.speed,
    )
    # Counting on from the time of the start, a restarted server finds its clients' versions too
    # old, and they list anew; one it had yet to reach would be waited for in silence.
    version = time.time_ns() // NS_PER_VERSION
    if options.scenario is None:
        world = _plain_world(options, clock=clock, version=version)
    else:
        world = _living_world(options.scenario, options=options, version=version)
    store, cluster = world.store, world.cluster
    address, port = sock.getsockname()[:2]
    settings = ApiServerSettings(
        tokens=frozenset() if options.token is None else frozenset({options.token}),
        advertised_address=f"{address}:{port}",
        faults=options.faults,
    )
    registry = CollectorRegistry()
    metrics = SimulationMetrics(registry, cluster=cluster, clock=clock)
    app = make_app(store, settings=settings, metrics_source=cluster.metrics, registry=registry)
    load_manifests(options.manifests, dispatcher=app.dispatcher)
    server = web_server(app)

    def end() -> None:
        app.close()
        server.should_exit = True

    async with asyncio.TaskGroup() as tasks:
        passage = tasks.create_task(_pass_time(world.step, clock=clock, metrics=metrics))
        passage.add_done_callback(lambda _: end())  # a world that stands still must not look alive
        tasks.create_task(_announce(server, on_ready=on_ready, end=end))
        await server.serve(sockets=[sock])
        passage.cancel()


@dataclass(frozen=True, slots=True)
class _World:
    """What is served, and how time passes in it."""

    store: Store
    cluster: Cluster
    step: Callable[[float], None]


def _plain_world(options: ServeOptions, *, clock: VirtualClock, version: int) -> _World:
    """Make some nodes, on which nothing runs but what clients put there."""
    store = Store(now_s=clock.now_s, seed=options.seed, version=version)
    for resource, obj in bootstrap_objects():
        store.create(resource, obj)
    cluster = Cluster(store, seed=options.seed)
    for spec in draw_nodes(
        options.n_nodes,
        seed=options.seed,
        cpu_milli=options.cpu_milli,
        memory_bytes=options.memory_bytes,
    ):
        cluster.add_node(spec)
    return _World(store, cluster, cluster.step)


def _living_world(scenario: Scenario, *, options: ServeOptions, version: int) -> _World:
    """Make a scenario's cluster, with its users."""
    started = msgspec.structs.replace(scenario, start=rfc3339(options.start_s))
    site = Site(started, seed=options.seed, version=version)
    site.store.keep_log(DEFAULT_LOG_SIZE)

    def step(now_s: float) -> None:
        site.step(now_s)
        site.feed.take()  # all who watch here do so over HTTP

    return _World(site.store, site.cluster, step)


async def _pass_time(
    step: Callable[[float], None], *, clock: VirtualClock, metrics: SimulationMetrics
) -> None:
    began_s = last_s = time.monotonic()
    lost_s = 0.0
    while True:
        with metrics.timing_step():
            step(clock.tick())
        now_s = time.monotonic()
        newly_lost_s = max(0.0, now_s - last_s - CATCH_UP_S)
        lost_s += newly_lost_s
        metrics.lost.inc(newly_lost_s)
        last_s = now_s
        if lost_s > CATCH_UP_S:
            log.warning(
                "time was lost: this machine slept, or is too slow for the speed",
                extra=facts(lost_s=round(lost_s, 1), running_s=round(now_s - began_s, 1)),
            )
            lost_s = 0.0
        await asyncio.sleep(STEP_S)


async def _announce(
    server: uvicorn.Server, *, on_ready: Callable[[], None], end: Callable[[], None]
) -> None:
    while not server.started:
        if server.should_exit:
            return
        await asyncio.sleep(0.01)
    # From here on a signal ends the program by a plain return: exit code 0, no traceback.
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    on_ready()
