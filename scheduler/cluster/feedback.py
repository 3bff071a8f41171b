"""Tells the predictor how placements went."""

import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Final, Literal

import msgspec
import requests

from kube.backoff import Backoff
from kube.edge.logs import facts
from kube.informer import Added, Deleted, Modified, Synced
from kube.informer import Event as Change
from kube.objects import Pod
from predictor.contract import Feedback
from scheduler.cluster.hand import Hand
from scheduler.cluster.outcomes import OutcomeTracker

log = logging.getLogger(__name__)

Result = Literal["sent", "refused", "dropped"]

_MAX_WAITING: Final = 10_000
_MAX_BATCH: Final = 200
_TIMEOUT_S: Final = 5.0


class FeedbackSender(Hand):
    """Follows pods and posts their outcomes from a thread of its own, until they are accepted.

    Args:
        url: Where the predictor is.
        tracker: Judges pods.
        now_s: Tells the cluster's time.
        interval_s: How often to look for outcomes that time has decided, by the local clock.
        on_result: Told what became of each outcome.
        rng: Jitter.
    """

    # What is not delivered by then is found again by the next start.
    _finish_s: ClassVar[float] = _TIMEOUT_S + 1.0

    def __init__(
        self,
        url: str,
        *,
        tracker: OutcomeTracker,
        now_s: Callable[[], float],
        interval_s: float,
        on_result: Callable[[Result], None],
        rng: random.Random,
    ) -> None:
        super().__init__("feedback")
        self._url = f"{url.rstrip('/')}/feedback"
        self._tracker = tracker
        self._now_s = now_s
        self._interval_s = interval_s
        self._on_result = on_result
        self._backoff = Backoff(rng, base_s=0.5, max_s=30.0)
        self._lock = threading.Lock()
        self._waiting: deque[Feedback] = deque()

    @property
    def n_open(self) -> int:
        """How many outcomes are not known yet."""
        return self._tracker.n_open

    @property
    def n_waiting(self) -> int:
        """How many outcomes are not delivered yet."""
        return len(self._waiting)

    def see(self, change: Change[Pod]) -> None:
        """Take in what the watch says of a pod."""
        now_s = self._now_s()
        with self._lock:
            match change:
                case Added(pod) | Modified(_, pod):
                    self._keep(self._tracker.see(pod, now_s=now_s))
                case Deleted(pod):
                    self._keep(self._tracker.gone(pod, now_s=now_s))
                case Synced():
                    pass

    def _keep(self, feedback: Feedback | None) -> None:
        if feedback is None:
            return
        if len(self._waiting) >= _MAX_WAITING:
            self._waiting.popleft()
            self._on_result("dropped")
        self._waiting.append(feedback)

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            delay_s = self._interval_s
            while not self._stop.wait(delay_s):
                self._look()
                is_delivered = self._deliver(session)
                delay_s = self._interval_s if is_delivered else self._backoff.next_delay_s()

    def _look(self) -> None:
        """Find the outcomes that time has decided."""
        now_s = self._now_s()
        with self._lock:
            for feedback in self._tracker.due(now_s=now_s):
                self._keep(feedback)

    def _deliver(self, session: requests.Session) -> bool:
        """Post what waits, oldest first; tell whether the predictor took it."""
        for _ in range(_MAX_BATCH):
            with self._lock:
                if not self._waiting or self._stop.is_set():
                    return True
                feedback = self._waiting[0]
            try:
                result = self._post(session, feedback)
            except requests.RequestException as error:
                log.warning("feedback not delivered", extra=facts(error=str(error)))
                return False
            self._backoff.reset()
            self._on_result(result)
            with self._lock:
                if self._waiting and self._waiting[0] is feedback:
                    self._waiting.popleft()
        return True

    def _post(self, session: requests.Session, feedback: Feedback) -> Result:
        """Post one outcome.

        Raises:
            HTTPError: The predictor cannot take it now.
        """
        response = session.post(
            self._url,
            data=msgspec.json.encode(feedback),
            headers={"Content-Type": "application/json"},
            timeout=_TIMEOUT_S,
            allow_redirects=False,
        )
        is_busy = response.status_code == requests.codes.too_many_requests
        if is_busy or response.status_code >= requests.codes.server_error:
            raise requests.HTTPError(f"HTTP {response.status_code}", response=response)
        if response.status_code == requests.codes.ok:
            return "sent"
        # For instance of a prediction that the predictor no longer keeps: nothing to repeat.
        log.info(
            "feedback refused",
            extra=facts(pod=feedback.pod_name, status=response.status_code),
        )
        return "refused"
