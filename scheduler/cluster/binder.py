"""Binds pods, and finds out what became of a binding whose answer was lost or refused."""

import math
import random
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from kube.backoff import Backoff
from kube.client import Client
from kube.errors import (
    ConflictError,
    KubeError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
)
from kube.objects import Pod
from scheduler.cluster.watches import pod_path
from scheduler.events import Bind, BindFailed, BindSucceeded, Event
from scheduler.model import PREDICTION_ANNOTATION

MAX_ATTEMPTS: Final = 5


class Binder:
    """Carries out ``Bind``; may be shared by threads.

    Args:
        client: The API server.
        deliver: Takes the result to the engine.
        is_leader: Whether we may write at this moment.
        stop: Ends all waiting.
        rng: Jitter.
    """

    def __init__(
        self,
        client: Client,
        *,
        deliver: Callable[[Event], None],
        is_leader: Callable[[], bool] = lambda: True,
        stop: threading.Event,
        rng: random.Random,
    ) -> None:
        self._client = client
        self._deliver = deliver
        self._is_leader = is_leader
        self._stop = stop
        self._rng = rng

    def bind(self, action: Bind) -> None:
        """Bind a pod and deliver how it went; see ``settle``."""
        result = self.settle(action)
        if result is not None:
            self._deliver(result)

    def settle(
        self, action: Bind, *, patience_s: float = math.inf
    ) -> BindSucceeded | BindFailed | None:
        """Bind a pod and tell how it went; ``None`` if we are to stop before that is known.

        A server that is busy or away is asked again, a few times, with back-off and jitter. If an
        answer was lost, the repeated binding meets a conflict, and a look at the pod tells. Who is
        no longer leader leaves the pod to the one that is.

        Args:
            action: What to bind where.
            patience_s: No attempt begins later than this, in seconds.
        """
        give_up_at_s = time.monotonic() + patience_s
        backoff = Backoff(self._rng, base_s=0.2, max_s=5.0)
        for attempt in range(MAX_ATTEMPTS):
            if not self._is_leader():
                message = "this scheduler is not leader any more"
                return BindFailed(action.pod.uid, message, is_lost_race=True)
            result, wait_s = self._attempt(action)
            if wait_s is None or attempt == MAX_ATTEMPTS - 1:
                return result
            delay_s = backoff.next_delay_s(at_least_s=wait_s)
            if time.monotonic() + delay_s > give_up_at_s:
                return result
            if self._stop.wait(delay_s):
                break
        return None

    def _attempt(self, action: Bind) -> tuple[BindSucceeded | BindFailed, float | None]:
        """Try once; the second value is how long to wait at least before trying again."""
        uid = action.pod.uid
        try:
            return self._write(action), None
        except NotFoundError as error:
            return BindFailed(uid, str(error), is_lost_race=True), None
        except ThrottledError as error:
            return BindFailed(uid, str(error)), error.retry_after_s
        except (UnavailableError, ConflictError) as error:
            return BindFailed(uid, str(error)), 0.0
        except KubeError as error:
            return BindFailed(uid, str(error)), None

    def _write(self, action: Bind) -> BindSucceeded | BindFailed:
        """Write the binding; of a conflict, find out who was faster.

        Raises:
            ConflictError: Nobody was, so that another attempt may do better.
            KubeError: See ``kube.errors``.
        """
        uid = action.pod.uid
        try:
            self._client.post(f"{pod_path(action.pod)}/binding", body=_binding(action))
        except ConflictError as conflict:
            pod = self._client.get_object(pod_path(action.pod), Pod)
            is_ours = pod.metadata.uid == uid
            if is_ours and not pod.spec.node_name:
                if pod.metadata.deletion_timestamp is not None:
                    return BindFailed(uid, str(conflict))
                raise
            if not is_ours or pod.spec.node_name != action.node:
                return BindFailed(uid, str(conflict), is_lost_race=True)
        return BindSucceeded(uid)


def _binding(action: Bind) -> bytes:
    """Make the Binding; the API server copies its annotations to the pod."""
    meta: dict[str, object] = {
        "name": action.pod.name,
        "namespace": action.pod.namespace,
        # Binds this pod, and not one that has taken its name meanwhile.
        "uid": action.pod.uid,
    }
    if action.prediction_id:
        meta["annotations"] = {PREDICTION_ANNOTATION: action.prediction_id}
    return msgspec.json.encode(
        {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": meta,
            "target": {"apiVersion": "v1", "kind": "Node", "name": action.node},
        }
    )
