"""What nodes use, as metrics-server says, for the plugins that want to know."""

import logging
import random
import threading
from collections.abc import Callable
from typing import Final

from kube.client import Client
from kube.edge.logs import facts
from kube.errors import KubeError
from kube.objects import NodeMetrics
from kube.quantity import CPU, MEMORY, QuantityError, parse_milli, parse_whole
from scheduler.events import NodesMeasured
from scheduler.model import Usage

log = logging.getLogger(__name__)

_NODES: Final = "/apis/metrics.k8s.io/v1beta1/nodes"
_MAX_AGE_S: Final = 300.0
"""An older sample tells nothing of now."""
_JITTER_RATIO: Final = 0.1


def measure(client: Client) -> NodesMeasured:
    """Ask what all nodes use; one whose sample is old or cannot be read is left out.

    Raises:
        KubeError: The API server, or its metrics, are not there now.
    """
    items, _ = client.list_objects(_NODES, NodeMetrics)
    oldest_s = client.now_s() - _MAX_AGE_S
    usage: dict[str, Usage] = {}
    for item in items:
        if item.timestamp.timestamp() < oldest_s:
            continue
        try:
            cpu, memory = parse_milli(item.usage[CPU]), parse_whole(item.usage[MEMORY])
        except (KeyError, QuantityError) as error:
            given = facts(node=item.metadata.name, error=str(error))
            log.warning("sample of a node left out", extra=given)
            continue
        usage[item.metadata.name] = Usage(cpu, memory)
    return NodesMeasured(usage)


class Gauge:
    """Measures again and again, in a thread.

    Args:
        client: The API server.
        interval_s: How often, by the local clock.
        deliver: Is handed what was measured; once nothing could be for some minutes, that nothing
            is known.
        rng: Jitter, so that schedulers do not ask in step.
    """

    def __init__(
        self,
        client: Client,
        *,
        interval_s: float,
        deliver: Callable[[NodesMeasured], None],
        rng: random.Random,
    ) -> None:
        self._client = client
        self._interval_s = interval_s
        self._deliver = deliver
        self._rng = rng
        self._measured_at_s = client.now_s()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Run in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop asking; does not wait for an answer under way."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._look()
            jitter = 1.0 + self._rng.uniform(-_JITTER_RATIO, _JITTER_RATIO)
            self._stop.wait(self._interval_s * jitter)

    def _look(self) -> None:
        try:
            self._deliver(measure(self._client))
            self._measured_at_s = self._client.now_s()
        except KubeError as error:
            log.warning("nodes' usage is not to be had", extra=facts(error=str(error)))
            if self._client.now_s() - self._measured_at_s > _MAX_AGE_S:
                self._deliver(NodesMeasured({}))
