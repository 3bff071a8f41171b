"""A Lease on the API server: read, created, and replaced by whoever saw it last."""

from typing import Any

import msgspec

from kube.client import Client
from kube.decoding import decode_object
from kube.objects import Struct


class LeaseRecord(Struct, frozen=True, omit_defaults=True):
    """Who holds the lease. Its times are notes for people: nobody compares clocks."""

    holder_identity: str | None = None
    """Absent, or empty, if it was released."""
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None
    """How often it changed hands."""


class Lease(Struct, frozen=True):
    """The object; all of its metadata goes back as it came."""

    metadata: dict[str, Any]
    spec: LeaseRecord = LeaseRecord()
    api_version: str = "coordination.k8s.io/v1"
    kind: str = "Lease"


class LeaseLock:
    """One Lease that several programs want; every write is a compare-and-swap.

    Args:
        client: The API server.
        namespace: Of the Lease.
        name: Of the Lease.
    """

    def __init__(self, client: Client, *, namespace: str, name: str) -> None:
        self._client = client
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._path = f"{self._collection}/{name}"
        self._metadata = {"name": name, "namespace": namespace}

    def read(self) -> Lease:
        """Read it.

        Raises:
            KubeError: See ``kube.errors``; ``NotFoundError`` if nobody has created it yet.
        """
        return self._client.get_object(self._path, Lease)

    def create(self, record: LeaseRecord) -> Lease:
        """Create it.

        Raises:
            KubeError: See ``kube.errors``; ``ConflictError`` if somebody was faster.
        """
        lease = Lease(metadata=self._metadata, spec=record)
        return decode_object(
            self._client.post(self._collection, body=msgspec.json.encode(lease)), Lease
        )

    def replace(self, seen: Lease, record: LeaseRecord) -> Lease:
        """Write a new record over the one in *seen*.

        Raises:
            KubeError: See ``kube.errors``; ``ConflictError`` if it has changed since.
        """
        lease = Lease(metadata=seen.metadata, spec=record)
        return decode_object(self._client.put(self._path, body=msgspec.json.encode(lease)), Lease)

    def now_s(self) -> float:
        """Tell the cluster's time (Unix time, in seconds)."""
        return self._client.now_s()
