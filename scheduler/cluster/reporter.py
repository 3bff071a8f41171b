"""Tells the world on the pods themselves: events, and the condition ``PodScheduled``."""

import logging
import random
import socket
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from kube.client import Client
from kube.edge.logs import facts
from kube.errors import KubeError, NotFoundError, UnavailableError
from kube.instants import rfc3339, rfc3339_micro
from kube.objects import Pod
from kube.retrying import Retrier
from scheduler.cluster.watches import pod_path
from scheduler.events import Evict, ReportFailure, ReportScheduled
from scheduler.model import PodFacts

log = logging.getLogger(__name__)

MAX_NOTE_BYTES: Final = 1024
_ELLIPSIS: Final = " ..."
_ACTIONS: Final = {
    "Scheduled": "Binding",
    "FailedScheduling": "Scheduling",
    "Preempted": "Preempting",
    "GangIncomplete": "Evicting",
}
_MAX_ATTEMPTS: Final = 3
_MAX_SERIES: Final = 4096
_SERIES_INTERVAL_S: Final = 60.0
"""A repeated event is counted here, and written this often at the most."""


class _StaleError(Exception):
    """What was to be written is no longer so."""


@dataclass(slots=True)
class _Series:
    """An event that happens again and again."""

    path: str
    count: int = 1
    written_at_s: float = 0.0
    """By the local monotonic clock."""


class Reporter:
    """Writes events and conditions; best effort, and may be shared by threads.

    Args:
        client: The API server.
        pod: Finds a pod as the watch last showed it.
        stop: Ends all waiting.
        rng: Jitter.
        monotonic: The local clock, in seconds.
    """

    def __init__(
        self,
        client: Client,
        *,
        pod: Callable[[str], Pod | None],
        stop: threading.Event,
        rng: random.Random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._pod = pod
        self._retrier = Retrier(rng, stop=stop, max_attempts=_MAX_ATTEMPTS)
        self._monotonic = monotonic
        self._host = socket.gethostname()
        self._lock = threading.Lock()
        self._series: OrderedDict[tuple[str, str, str], _Series] = OrderedDict()
        self._messages: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def report_scheduled(self, report: ReportScheduled) -> None:
        """Write the event ``Scheduled``."""
        note = f"Successfully assigned {report.pod.key} to {report.node}"
        self._write_event(report.pod, kind="Normal", reason="Scheduled", note=note)
        with self._lock:
            self._messages.pop(report.pod.uid, None)

    def report_failure(self, report: ReportFailure) -> None:
        """Write the event ``FailedScheduling``, and the condition if its text is new."""
        note = shorten(report.message)
        self._write_event(report.pod, kind="Warning", reason="FailedScheduling", note=note)
        self._write_condition(report)

    def report_eviction(self, action: Evict) -> None:
        """Write an event on the victim."""
        cause, note = action.cause, action.note
        self._write_event(action.victim, kind="Normal", reason=cause, note=note)

    def _write_event(self, pod: PodFacts, *, kind: str, reason: str, note: str) -> None:
        now = rfc3339_micro(self._client.now_s())
        series = self._repeat(pod, reason=reason, note=note)
        if series is None:
            self._create_event(pod, kind=kind, reason=reason, note=note)
        elif self._is_due(series):
            body = {"series": {"count": series.count, "lastObservedTime": now}}
            is_written = self._attempt(
                lambda: self._client.patch(series.path, body=msgspec.json.encode(body)),
                what="event",
                pod=pod,
            )
            if not is_written:
                # API servers drop events after an hour: the next one starts anew.
                with self._lock:
                    self._series.pop((pod.uid, reason, note), None)

    def _create_event(self, pod: PodFacts, *, kind: str, reason: str, note: str) -> None:
        collection = f"/apis/events.k8s.io/v1/namespaces/{pod.namespace}/events"
        # A cut must not leave a name that the API server refuses.
        name = f"{pod.name[:200].rstrip('-.')}.{uuid.uuid4().hex[:16]}"
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": pod.namespace},
            "eventTime": rfc3339_micro(self._client.now_s()),
            "reportingController": pod.scheduler_name,
            "reportingInstance": f"{pod.scheduler_name}-{self._host}"[:128],
            "action": _ACTIONS[reason],
            "reason": reason,
            "regarding": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": pod.namespace,
                "name": pod.name,
                "uid": pod.uid,
            },
            "note": note,
            "type": kind,
        }
        is_written = self._attempt(
            lambda: self._client.post(collection, body=msgspec.json.encode(event)),
            what="event",
            pod=pod,
        )
        if is_written and kind == "Warning":
            with self._lock:
                self._series[pod.uid, reason, note] = _Series(f"{collection}/{name}")
                while len(self._series) > _MAX_SERIES:
                    self._series.popitem(last=False)

    def _repeat(self, pod: PodFacts, *, reason: str, note: str) -> _Series | None:
        """Count one more of an event that was written before; ``None`` if it is new."""
        with self._lock:
            series = self._series.get((pod.uid, reason, note))
            if series is not None:
                series.count += 1
            return series

    def _is_due(self, series: _Series) -> bool:
        now_s = self._monotonic()
        with self._lock:
            if series.count > 2 and now_s - series.written_at_s < _SERIES_INTERVAL_S:
                return False
            series.written_at_s = now_s
            return True

    def _write_condition(self, report: ReportFailure) -> None:
        pod = report.pod
        status = self._news(report)
        if not status:
            return
        path = f"{pod_path(pod)}/status"
        # The uid is a precondition: a pod that took the name meanwhile is none of ours.
        body: Mapping[str, Any] = {"metadata": {"uid": pod.uid}, "status": status}
        is_written = self._attempt(
            lambda: self._client.patch(path, body=msgspec.json.encode(body)),
            what="condition",
            pod=pod,
            is_stale=lambda: self._is_bound(pod),
        )
        if is_written:
            with self._lock:
                self._messages[pod.uid] = (report.reason, report.message)
                self._messages.move_to_end(pod.uid)
                while len(self._messages) > _MAX_SERIES:
                    self._messages.popitem(last=False)

    def _news(self, report: ReportFailure) -> dict[str, Any]:
        """Say what of a pod's status is to be written; nothing if all of it is known."""
        text = (report.reason, report.message)
        shown = self._shown(report.pod)
        conditions = (shown.status.conditions if shown is not None else None) or []
        known = next((c for c in conditions if c.type == "PodScheduled"), None)
        with self._lock:
            is_known = self._messages.get(report.pod.uid) == text
        status: dict[str, Any] = {}
        if report.nominated_node is not None:
            # null takes the field away.
            status["nominatedNodeName"] = report.nominated_node or None
        if is_known or (known is not None and (known.reason, known.message) == text):
            return status
        condition: dict[str, Any] = {
            "type": "PodScheduled",
            "status": "False",
            "reason": report.reason,
            "message": report.message,
        }
        if known is None or known.status != "False":
            condition["lastTransitionTime"] = rfc3339(self._client.now_s())
        return {**status, "conditions": [condition]}

    def _shown(self, facts_of: PodFacts) -> Pod | None:
        """Find the pod as the watch last showed it, if that is the same pod."""
        pod = self._pod(facts_of.key)
        return pod if pod is not None and pod.metadata.uid == facts_of.uid else None

    def _is_bound(self, pod: PodFacts) -> bool:
        """Tell whether the pod is bound meanwhile: its condition is then not ours to write."""
        shown = self._shown(pod)
        return shown is not None and bool(shown.spec.node_name)

    def _attempt(
        self,
        write: Callable[[], bytes],
        *,
        what: str,
        pod: PodFacts,
        is_stale: Callable[[], bool] = lambda: False,
    ) -> bool:
        def check() -> None:
            if is_stale():
                raise _StaleError

        try:
            self._retrier.run(write, check=check)
        except (NotFoundError, _StaleError):
            return False
        except KubeError as error:
            fate = "report lost" if isinstance(error, UnavailableError) else "report refused"
            log.warning(fate, extra=facts(what=what, pod=pod.key, error=str(error)))
            return False
        return True


def shorten(note: str) -> str:
    """Cut a note to what the API server accepts, as kube-scheduler does."""
    encoded = note.encode()
    if len(encoded) <= MAX_NOTE_BYTES:
        return note
    return encoded[: MAX_NOTE_BYTES - len(_ELLIPSIS)].decode(errors="ignore") + _ELLIPSIS
