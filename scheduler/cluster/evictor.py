"""Carries out evictions, and the writes that must come before a binding."""

import logging
import random
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from kube.client import MERGE_PATCH, Client
from kube.edge.logs import facts
from kube.errors import KubeError, NotFoundError
from kube.instants import rfc3339
from kube.retrying import Retrier
from scheduler.cluster.watches import pod_path
from scheduler.events import Event, Evict, EvictFailed, WriteFailed, WriteFirst, Written
from scheduler.model import PodFacts

log = logging.getLogger(__name__)

_MAX_ATTEMPTS: Final = 5


class _NotLeaderError(KubeError):
    """Another scheduler writes now."""


class Evictor:
    """Asks pods to go; may be shared by threads.

    Args:
        client: The API server.
        deliver: Takes results to the engine.
        is_leader: Whether we may write at this moment.
        stop: Ends all waiting.
        rng: Jitter.
    """

    def __init__(
        self,
        client: Client,
        *,
        deliver: Callable[[Event], None],
        is_leader: Callable[[], bool],
        stop: threading.Event,
        rng: random.Random,
    ) -> None:
        self._client = client
        self._deliver = deliver
        self._is_leader = is_leader
        self._retrier = Retrier(rng, stop=stop, max_attempts=_MAX_ATTEMPTS)

    def evict(self, action: Evict) -> None:
        """Say on the pod why it has to go, and delete it.

        A pod that is gone already is what was wanted. A conflict may mean that another took its
        name, which the watch will say, or that nothing was deleted.
        """
        victim = action.victim
        try:
            self._attempt(lambda: self._say_why(action))
            self._attempt(lambda: self._delete(victim))
        except NotFoundError:
            return
        except KubeError as error:
            log.warning("pod not evicted", extra=facts(pod=victim.key, error=str(error)))
            self._deliver(EvictFailed(victim.uid))

    def write_first(self, action: WriteFirst) -> None:
        """Write what a binding needs."""
        uid = action.pod.uid
        try:
            for write in action.writes:
                self._attempt(partial(self._merge, write.path, write.body))
        except KubeError as error:
            self._deliver(WriteFailed(uid, str(error)))
        else:
            self._deliver(Written(uid))

    def _say_why(self, action: Evict) -> None:
        pod = action.victim
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": action.reason,
            "message": action.message,
            "lastTransitionTime": rfc3339(self._client.now_s()),
        }
        # The uid is a precondition: a pod that took the name meanwhile is none of ours.
        body = {"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}}
        self._client.patch(f"{pod_path(pod)}/status", body=msgspec.json.encode(body))

    def _delete(self, pod: PodFacts) -> None:
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": pod.uid},
        }
        self._client.delete(pod_path(pod), body=msgspec.json.encode(options))

    def _merge(self, path: str, body: Mapping[str, Any]) -> None:
        self._client.patch(path, body=msgspec.json.encode(body), content_type=MERGE_PATCH)

    def _attempt(self, write: Callable[[], None]) -> None:
        """Write, again if the server is busy or away.

        Raises:
            KubeError: It could not be written.
        """
        self._retrier.run(write, check=self._check_lead)

    def _check_lead(self) -> None:
        if not self._is_leader():
            raise _NotLeaderError("no longer the leader")
