"""Usage from ``metrics.k8s.io``: the last sample of each node, and nothing of how it varies."""

import logging
from typing import ClassVar, Final

from kube.client import Client
from kube.edge.logs import facts
from kube.errors import KubeError
from kube.objects import NodeMetrics
from kube.quantity import CPU, MEMORY, QuantityError, parse_milli, parse_whole
from scheduler.cluster.usage.source import MAX_AGE_S, UsageError, whole
from scheduler.events import NodesMeasured
from scheduler.model import Usage, UsageWindow

log = logging.getLogger(__name__)

_NODES: Final = "/apis/metrics.k8s.io/v1beta1/nodes"


class MetricsServerSource:
    """Asks the API server, which asks a metrics-server.

    Args:
        client: The API server; not ours to close.
    """

    nothing: ClassVar[NodesMeasured] = NodesMeasured({})

    def __init__(self, client: Client) -> None:
        self._client = client

    def measure(self) -> NodesMeasured:
        """Ask what all nodes use; one whose sample is old or cannot be read is left out.

        Raises:
            UsageError: The API server, or its metrics, are not there now.
        """
        try:
            items, _ = self._client.list_objects(_NODES, NodeMetrics)
        except KubeError as error:
            raise UsageError(f"metrics.k8s.io: {error}") from error
        oldest_s = self._client.now_s() - MAX_AGE_S
        windows: dict[str, UsageWindow] = {}
        for item in items:
            at_s = item.timestamp.timestamp()
            if at_s < oldest_s:
                continue
            try:
                usage = _usage(item)
            except (KeyError, QuantityError) as error:
                given = facts(node=item.metadata.name, error=str(error))
                log.warning("sample of a node left out", extra=given)
                continue
            windows[item.metadata.name] = UsageWindow(usage, None, at_s, at_s)
        return NodesMeasured({name: window.mean for name, window in windows.items()}, windows)

    def close(self) -> None:
        """Leave the client to its owner."""


def _usage(item: NodeMetrics) -> Usage:
    cpu = whole(parse_milli(item.usage[CPU]))
    memory = whole(parse_whole(item.usage[MEMORY]))
    if cpu is None or memory is None:
        raise QuantityError(f"no amount of anything: {item.usage}")
    return Usage(cpu, memory)
