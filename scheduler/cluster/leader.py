"""Which of several schedulers decides: the one that holds a Lease, by client-go's rules.

Who wants the lease writes its name into it, and goes on renewing it. Others watch it change; if it
has not for as long as it says itself, they take it. Each measures that with its own clock, from
when it saw the change: clocks of different machines are never compared. Of two that write at once
the API server lets one through, for every write names the version that it replaces.

The holder counts from *before* it asked to renew, so that it stops deciding before others may
begin. It does not try to become leader again: the program ends, and is started anew.
"""

import logging
import math
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Final, Self

import msgspec

from kube.client import Client
from kube.config import Cluster
from kube.edge.logs import facts
from kube.errors import (
    ConflictError,
    KubeError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
)
from kube.instants import rfc3339_micro
from scheduler.cluster.lease import Lease, LeaseLock, LeaseRecord
from scheduler.framework.leader_election import JITTER_FACTOR, LeaderElectionConfiguration

log = logging.getLogger(__name__)

_MIN_TIMEOUT_S: Final = 1.0
_RELEASED_FOR_S: Final = 1
_STOP_TIMEOUT_S: Final = 5.0


def lease_client(cluster: Cluster, *, settings: LeaderElectionConfiguration) -> Client:
    """Make a client for the lease alone, so that renewing never waits for anything else."""
    timeout_s = max(_MIN_TIMEOUT_S, settings.renew_deadline / 2)
    return Client(cluster, timeout_s=timeout_s, pool_size=1)


class LeaderElector:
    """Takes the lease and keeps it; a context manager that stops, and leaves the lease as it is.

    Args:
        client: The API server; see ``lease_client``.
        settings: Which lease, and the times.
        rng: Jitter.
        identity: Our name in the lease, which must be nobody else's.
        monotonic: The local clock, in seconds.
    """

    def __init__(
        self,
        client: Client,
        *,
        settings: LeaderElectionConfiguration,
        rng: random.Random,
        identity: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.identity = identity or f"{socket.gethostname()}_{uuid.uuid4()}"
        self.lost = threading.Event()
        """Set when the lease was ours and is no longer: the program must end."""
        self._lock = LeaseLock(
            client, namespace=settings.resource_namespace, name=settings.resource_name
        )
        self._settings = settings
        self._rng = rng
        self._monotonic = monotonic
        # Renewing begins a retry period after the last success, and may then take so long.
        self._hold_s = min(settings.lease_duration, settings.retry_period + settings.renew_deadline)
        self._held_until_s: float | None = None
        self._lease: Lease | None = None
        self._seen_at_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)

    @property
    def is_leader(self) -> bool:
        """Whether we may decide, and write, at this moment; by the clock, whatever hangs."""
        held_until_s = self._held_until_s
        return held_until_s is not None and self._monotonic() < held_until_s

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def release(self) -> None:
        """Stop, and hand the lease back, so that the next takes it at once.

        Nothing of ours may still write. If the lease cannot be written, it expires by itself.
        """
        self._end()
        if self._thread.is_alive() or not self.is_leader or self._lease is None:
            return
        self._held_until_s = None
        now = rfc3339_micro(self._lock.now_s())
        record = msgspec.structs.replace(
            self._lease.spec,
            holder_identity=None,  # API servers of late refuse an empty one
            lease_duration_seconds=_RELEASED_FOR_S,
            acquire_time=now,
            renew_time=now,
        )
        try:
            self._lock.replace(self._lease, record)
        except KubeError as error:
            log.warning("lease not released", extra=facts(error=str(error)))
        else:
            log.info("lease released", extra=facts(identity=self.identity))

    def attempt(self) -> float:
        """Try once to take or to renew the lease; tell how long to wait before the next time.

        The thread does nothing else; without a thread, tests do.
        """
        was_leader = self._held_until_s is not None
        started_s = self._monotonic()
        at_least_s = 0.0
        try:
            is_held = self._acquire_or_renew(started_s)
        except KubeError as error:
            is_held = False
            at_least_s = error.retry_after_s if isinstance(error, ThrottledError) else 0.0
            log.warning("no answer about the lease", extra=facts(error=str(error)))
        if is_held:
            self._held_until_s = started_s + self._hold_s
        if was_leader and (self._is_anothers or not self.is_leader):
            self._held_until_s = None
            log.error("lease lost", extra=facts(identity=self.identity, holder=self._holder))
            self.lost.set()
        elif is_held and not was_leader:
            log.info("became leader", extra=facts(identity=self.identity))
        return self._pause_s(at_least_s)

    @property
    def _holder(self) -> str:
        return (self._lease.spec.holder_identity or "") if self._lease is not None else ""

    @property
    def _is_anothers(self) -> bool:
        return self._holder not in ("", self.identity)

    def _run(self) -> None:
        while not self._stop.is_set() and not self.lost.is_set():
            self._stop.wait(self.attempt())

    def _end(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_TIMEOUT_S)

    def _pause_s(self, at_least_s: float) -> float:
        retry_s = self._settings.retry_period
        if self._held_until_s is None:
            return max(at_least_s, retry_s * (1 + self._rng.uniform(0, JITTER_FACTOR)))
        left_s = self._held_until_s - self._monotonic()
        return max(0.0, min(max(at_least_s, retry_s), left_s))

    def _acquire_or_renew(self, now_s: float) -> bool:
        """Write our name into the lease, if it is ours or nobody's; tell whether it stands there.

        Raises:
            ThrottledError: The server asks to wait.
            KubeError: See ``kube.errors``.
        """
        if self._held_until_s is not None and self._lease is not None:
            try:
                self._write(self._lease)
            except ThrottledError:
                raise
            except (ConflictError, NotFoundError, UnavailableError) as error:
                # Of a lease that is gone, API servers say so with 404, 409 or 500.
                log.info("lease not renewed, looking at it", extra=facts(error=str(error)))
            else:
                return True
        try:
            return self._look_and_write(now_s)
        except ConflictError:
            return False  # somebody was faster; the next look tells who

    def _look_and_write(self, now_s: float) -> bool:
        try:
            lease = self._lock.read()
        except NotFoundError:
            self._see(self._lock.create(self._record(None)))
            return True
        self._see(lease)
        if self._is_anothers and now_s < self._expires_at_s(lease):
            return False
        self._write(lease)
        return True

    def _write(self, lease: Lease) -> None:
        self._see(self._lock.replace(lease, self._record(lease.spec)))

    def _record(self, old: LeaseRecord | None) -> LeaseRecord:
        now = rfc3339_micro(self._lock.now_s())
        acquired, transitions = now, 0
        if old is not None:
            transitions = old.lease_transitions or 0
            if old.holder_identity == self.identity:
                acquired = old.acquire_time or now
            else:
                transitions += 1
        return LeaseRecord(
            holder_identity=self.identity,
            lease_duration_seconds=math.ceil(self._settings.lease_duration),
            acquire_time=acquired,
            renew_time=now,
            lease_transitions=transitions,
        )

    def _see(self, lease: Lease) -> None:
        """Remember a lease, and when it was first seen to say what it says."""
        before = self._lease
        self._lease = lease
        if before is None or before.spec != lease.spec:
            self._seen_at_s = self._monotonic()
        if self._is_anothers and (before is None or before.spec.holder_identity != self._holder):
            log.info("another is leader", extra=facts(holder=self._holder))

    def _expires_at_s(self, lease: Lease) -> float:
        return self._seen_at_s + (lease.spec.lease_duration_seconds or 0)
