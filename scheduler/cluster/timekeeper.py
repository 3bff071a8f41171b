"""Keeps the cluster's clock fresh while something waits for time to pass."""

import logging
from collections.abc import Callable

from kube.client import Client
from kube.edge.logs import facts
from kube.errors import KubeError
from scheduler.cluster.hand import Hand

log = logging.getLogger(__name__)


class Timekeeper(Hand):
    """Asks the API server something small, now and then, because every answer tells the time.

    A watch tells it only once. Without other traffic our reckoning runs at our own pace, far behind
    a simulated cluster whose time runs faster.

    Args:
        client: Learns the time from its answers.
        interval_s: How often to ask, by the local clock.
        is_needed: Whether anything waits for time to pass.
    """

    def __init__(self, client: Client, *, interval_s: float, is_needed: Callable[[], bool]) -> None:
        super().__init__("time")
        self._client = client
        self._interval_s = interval_s
        self._is_needed = is_needed

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            if not self._is_needed():
                continue
            try:
                self._client.get("/version")
            except KubeError as error:
                log.debug("no news of the time", extra=facts(error=str(error)))
