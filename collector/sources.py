"""Where samples come from."""

from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeVar

from collector.samples import SampleError, Usage, node_sample, pod_sample
from kube.client import Client
from kube.errors import KubeError, UnavailableError
from kube.objects import NodeMetrics, PodMetrics

_API: Final = "/apis/metrics.k8s.io/v1beta1"

M = TypeVar("M")
S = TypeVar("S")


class SourceError(Exception):
    """The source gave no samples: go on with what is known, ask again at the next interval.

    Args:
        message: What happened.
        is_outage: Whether the API server is out of reach, so that the watches are silent, too.
    """

    def __init__(self, message: str, *, is_outage: bool) -> None:
        super().__init__(message)
        self.is_outage = is_outage


class MetricsSource(Protocol):
    """Gives the newest samples of all nodes and pods."""

    def fetch(self) -> Usage:
        """Ask for them once.

        Raises:
            SourceError: There are none to be had now.
        """


class MetricsApi:
    """``metrics.k8s.io``, as a metrics-server fills it.

    Args:
        client: The API server.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def fetch(self) -> Usage:
        """Ask for the newest samples of all nodes and pods.

        Raises:
            SourceError: The API server, or its metrics, are not there now.
        """
        try:
            nodes, _ = self._client.list_objects(f"{_API}/nodes", NodeMetrics)
            pods, _ = self._client.list_objects(f"{_API}/pods", PodMetrics)
        except KubeError as error:
            is_outage = isinstance(error, UnavailableError)
            raise SourceError(str(error), is_outage=is_outage) from error
        node_samples, n_bad_nodes = _read(nodes, node_sample)
        pod_samples, n_bad_pods = _read(pods, pod_sample)
        return Usage(node_samples, pod_samples, n_malformed=n_bad_nodes + n_bad_pods)


def _read(items: Iterable[M], read: Callable[[M], S]) -> tuple[tuple[S, ...], int]:
    samples, n_malformed = [], 0
    for item in items:
        try:
            samples.append(read(item))
        except SampleError:
            n_malformed += 1
    return tuple(samples), n_malformed
