"""A site's API server on a loopback port, which answers while it is told to, and then stands still.

The store belongs to one thread. So the server's event loop runs in the thread that lets time pass,
and between two runs of it the site can be stepped without a lock; who asks meanwhile, waits.
"""

import asyncio
import secrets
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
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

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
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
        self._site = site
        self._stack = ExitStack()
        self.is_interrupted = False
        """Whether we are asked to end: what runs here should, soon."""

    def __enter__(self) -> Self:
        """Begin to serve."""
        with self._stack:
            self._open()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End all watches and connections."""
        self._stack.close()

    @property
    def kubeconfig(self) -> str:
        """What leads here, as YAML."""
        return kubeconfig(url=f"http://{self._address}", token=self._token)

    def _open(self) -> None:
        site = self._site
        site.store.keep_log(DEFAULT_LOG_SIZE)
        sock = self._stack.enter_context(listen("127.0.0.1", port=0))
        self._address = "{}:{}".format(*sock.getsockname()[:2])
        self._token = secrets.token_urlsafe(32)
        settings = ApiServerSettings(
            tokens=frozenset({self._token}), advertised_address=self._address
        )
        self._app = make_app(site.store, settings=settings, metrics_source=site.cluster.metrics)
        self._server = web_server(self._app, kind=_Server)
        self._runner = self._stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        self._serving = self._runner.get_loop().create_task(self._server.serve(sockets=[sock]))
        self._stack.callback(self._end)
        self.run(self._started())

    def _end(self) -> None:
        self._app.close()
        self._server.should_exit = True
        self.run(self._stopped())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Serve for as long as *work* takes.

        Raises:
            KeyboardInterrupt: We are asked to end; only now, for in the midst of a callback it
                would do harm.
        """
        self.is_interrupted = False
        with _handling_interrupts(self._interrupt):
            result = self._runner.run(work)
        if self.is_interrupted:
            raise KeyboardInterrupt
        return result

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

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.is_interrupted = True

    async def _started(self) -> None:
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
            await asyncio.sleep(_ROUND_S)

    async def _stopped(self) -> None:
        await self._serving


@contextmanager
def _handling_interrupts(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have *handle* called for the signals that would raise ``KeyboardInterrupt``."""
    numbers = [n for n in _SIGNALS if signal.getsignal(n) is signal.default_int_handler]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.default_int_handler)
