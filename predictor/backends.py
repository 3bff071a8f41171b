"""Where trees are fitted: by joblib on this machine, or on a Dask or Ray cluster."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Final, Literal

import joblib

Backend = Literal["loky", "threading", "multiprocessing", "dask", "ray"]

CLUSTERS: Final[dict[Backend, str]] = {"dask": "distributed", "ray": "ray"}
"""Backends that are clusters, and the package that each needs."""

_CONNECT_S: Final = 5
_LOOPBACK: Final = "127.0.0.1"
_ANY_PORT: Final = f"{_LOOPBACK}:0"
"""Dask serves its state over HTTP, by itself on a fixed port and to everybody."""


def why_not_usable(backend: Backend) -> str:
    """Say which package a backend lacks; an empty text if it lacks none."""
    package = CLUSTERS.get(backend)
    if package is None or find_spec(package) is not None:
        return ""
    return (
        f"{backend} needs the package {package}, which is not installed: "
        f"pip install 'ai-scheduler[{backend}]'"
    )


@contextmanager
def fitting_on(backend: Backend, *, n_jobs: int, address: str) -> Iterator[None]:
    """Fit on a backend what is fitted within the block.

    Args:
        backend: One of joblib's.
        n_jobs: How many trees are fitted at once; a Dask cluster takes as many as it has threads.
        address: Of a cluster's scheduler or head; if empty, a cluster is started on this machine
            and ended with the block.

    Raises:
        OSError: The cluster does not answer.
    """
    with ExitStack() as stack:
        if backend == "dask":
            _join_dask(stack, address=address)
        elif backend == "ray":
            _join_ray(stack, address=address)
        stack.enter_context(joblib.parallel_config(backend=backend, n_jobs=n_jobs))
        yield


# Imported only where they are used: both are optional, and take a second to import.


def _join_dask(stack: ExitStack, *, address: str) -> None:
    from distributed import Client, LocalCluster

    where = address or stack.enter_context(
        LocalCluster(
            host=_LOOPBACK, dashboard_address=_ANY_PORT, worker_dashboard_address=_ANY_PORT
        )
    )
    stack.enter_context(Client(where, timeout=_CONNECT_S))


def _join_ray(stack: ExitStack, *, address: str) -> None:
    import ray
    from ray.util.joblib import register_ray

    ray.init(address=address or "local", include_dashboard=False, log_to_driver=False)
    stack.callback(ray.shutdown)
    register_ray()
