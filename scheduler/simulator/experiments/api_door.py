"""A site's API server on a loopback port, which answers while it is told to, and then stands still.

The store belongs to one thread. So the server's event loop runs in the thread that lets time pass,
and between two runs of it the site can be stepped without a lock; who asks meanwhile, waits.
"""

import asyncio
import secrets
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self, TypeVar

import uvicorn
import uvloop

from scheduler.simulator.access import kubeconfig
from scheduler.simulator.apiserver.app import make_app
from scheduler.simulator.apiserver.settings import ApiServerSettings
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.serving import listen, web_server
from scheduler.simulator.store import DEFAULT_LOG_SIZE

T = TypeVar("T")

_QUICK_ROUNDS: Final = 20
"""Turns of the loop in which texts usually reach their sockets."""
_ROUND_S: Final = 0.001


class _Server(uvicorn.Server):
    """Leaves signals to us: the server is a part of our work, not the program."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class ApiDoor:
    """Serves a site; a context manager.

    Args:
        site: Its store and metrics are served; its clock is what answers are dated by.
    """

    def __init__(self, site: Site) -> None:
        site.store.keep_log(DEFAULT_LOG_SIZE)
        self._socket = listen("127.0.0.1", port=0)
        host, port = self._socket.getsockname()[:2]
        token = secrets.token_urlsafe(32)
        settings = ApiServerSettings(tokens=frozenset({token}), advertised_address=f"{host}:{port}")
        self.kubeconfig = kubeconfig(url=f"http://{host}:{port}", token=token)
        """What leads here, as YAML."""
        self._app = make_app(site.store, settings=settings, metrics_source=site.cluster.metrics)
        self._server = web_server(self._app, kind=_Server)
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def __enter__(self) -> Self:
        """Begin to serve."""
        self._serving = self._runner.get_loop().create_task(
            self._server.serve(sockets=[self._socket])
        )
        self.run(self._started())
        return self

    def __exit__(self, *_: object) -> None:
        """End all watches and connections."""
        self._app.close()
        self._server.should_exit = True
        try:
            self.run(self._stopped())
        finally:
            self._runner.close()
            self._socket.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Serve for as long as *work* takes."""
        return self._runner.run(work)

    async def deliver(self, *, until_s: float) -> None:
        """Let watchers have all that they are to be told; those who do not read, by a deadline.

        Args:
            until_s: By the loop's clock.
        """
        loop = asyncio.get_running_loop()
        n_rounds = 0
        await asyncio.sleep(0)
        while self._app.dispatcher.watches.n_waiting and loop.time() < until_s:
            n_rounds += 1
            await asyncio.sleep(0 if n_rounds < _QUICK_ROUNDS else _ROUND_S)

    async def _started(self) -> None:
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
            await asyncio.sleep(_ROUND_S)

    async def _stopped(self) -> None:
        await self._serving
