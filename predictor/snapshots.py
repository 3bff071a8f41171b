"""The newest state of the cluster, read from the collector every few seconds."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import requests

from collector.contract import Snapshot, WorkloadHistory
from kube.edge.logs import facts
from predictor.features import NodeColumns
from predictor.settings import CollectorSettings

log = logging.getLogger(__name__)


class NoSnapshotError(Exception):
    """The collector has not answered for too long, or never: say so, and ask again later."""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A snapshot, prepared for many predictions."""

    snapshot: Snapshot
    nodes: NodeColumns
    position: dict[str, int]
    """Of each node by name."""
    workloads: dict[str, WorkloadHistory]
    """Those seen, by ``namespace/kind/name``."""

    @classmethod
    def of(cls, snapshot: Snapshot) -> "ClusterView":
        """Prepare a snapshot."""
        nodes = NodeColumns.of(snapshot.nodes)
        return cls(
            snapshot=snapshot,
            nodes=nodes,
            position={name: i for i, name in enumerate(nodes.names)},
            workloads={workload.key: workload for workload in snapshot.workloads},
        )

    def failure_rate(self, workload: str) -> float:
        """Tell what to expect of a workload; one never seen has the prior."""
        seen = self.workloads.get(workload)
        return self.snapshot.prior_failure_rate if seen is None else seen.failure_rate


class Snapshots:
    """Keeps the newest snapshot; safe to use from many threads.

    Args:
        settings: Where to read, how often, and for how long a snapshot is good.
        monotonic_s: A clock that never goes back, in seconds.
    """

    def __init__(
        self, settings: CollectorSettings, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._monotonic_s = monotonic_s
        self._url = settings.url.rstrip("/") + "/api/v1/snapshot"
        self._session = requests.Session()
        self._session.trust_env = False  # the collector is never behind a proxy
        self._refreshing = threading.Lock()
        self._view: ClusterView | None = None
        self._etag = ""
        self._read_at_s = float("-inf")
        self._tried_at_s = float("-inf")
        self._is_reachable = False

    @property
    def age_s(self) -> float | None:
        """Seconds since the snapshot was last known to be the newest; ``None`` without one."""
        return None if self._view is None else self._monotonic_s() - self._read_at_s

    @property
    def is_reachable(self) -> bool:
        """Whether the collector answered the last time it was asked."""
        return self._is_reachable

    def newest(self) -> ClusterView | None:
        """Give the last snapshot read, however old."""
        return self._view

    def current(self) -> ClusterView:
        """Give a snapshot to predict by, reading it first if the last one is due.

        Raises:
            NoSnapshotError: There is none, or it is too old.
        """
        due_at_s = 2 * self._settings.refresh_interval
        now_s = self._monotonic_s()
        # Normally the background reads in time; after an outage the first question helps itself,
        # but an outage must not make every question wait for a timeout.
        if now_s - max(self._read_at_s, self._tried_at_s) > due_at_s:
            self.refresh()
        view, age_s = self._view, self.age_s
        if view is None or age_s is None:
            raise NoSnapshotError("the collector has not answered yet")
        if age_s > self._settings.max_snapshot_age:
            raise NoSnapshotError(f"the collector has not answered for {age_s:.0f} s")
        return view

    def refresh(self) -> None:
        """Read the snapshot, unless somebody else is doing so; never raises for an outage."""
        if not self._refreshing.acquire(blocking=False):
            return
        try:
            self._read()
        except (requests.RequestException, msgspec.DecodeError) as error:
            if self._is_reachable or self._tried_at_s == float("-inf"):
                log.warning(
                    "the collector does not answer, going on with the last snapshot",
                    extra=facts(url=self._url, error=str(error), age_s=self.age_s),
                )
            self._is_reachable = False
        finally:
            self._tried_at_s = self._monotonic_s()
            self._refreshing.release()

    def _read(self) -> None:
        answer = self._session.get(
            self._url,
            headers={"If-None-Match": self._etag} if self._etag else {},
            timeout=float(self._settings.timeout),
        )
        answer.raise_for_status()
        if answer.status_code != requests.codes.not_modified:
            self._view = ClusterView.of(msgspec.json.decode(answer.content, type=Snapshot))
            self._etag = answer.headers.get("ETag", "")
        self._read_at_s = self._monotonic_s()
        self._is_reachable = True

    def close(self) -> None:
        """Close the connections."""
        self._session.close()
