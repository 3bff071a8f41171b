"""Notices when what we believe of the cluster must be wrong, though the watches do not say so.

Losing a race is no surprise: a pod was deleted, or bound by someone else, a moment before the
watch could tell. These are, since the watch had all the time it needs:

- A pod that we were told is gone or elsewhere is tried again, and is gone or elsewhere again.
- A binding that the API server took is not shown by the watch.

The remedy for repeated surprises is to build the state anew from the API server.
"""

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from kube.edge.logs import facts
from kube.objects import Pod
from scheduler.model import PodFacts

log = logging.getLogger(__name__)

Kind = Literal["refused again", "unconfirmed"]

SURPRISES: Final = 3
"""So many are no coincidence..."""
WINDOW_S: Final = 300.0
"""...if they happen within this time, by the local clock."""
CONFIRMATION_S: Final = 30.0
"""How long the watch may take to show a binding, by the local clock."""
_MAX_WATCHED: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Unconfirmed:
    key: str
    uid: str
    due_s: float


class Surprises:
    """Counts surprises; used by the engine's thread alone.

    Args:
        shown: Finds a pod as the watch last showed it.
        on_surprise: Told of each kind as it happens.
        monotonic: The local clock, in seconds.
    """

    def __init__(
        self,
        *,
        shown: Callable[[str], Pod | None],
        on_surprise: Callable[[Kind], None],
        monotonic: Callable[[], float],
    ) -> None:
        self.are_too_many = threading.Event()
        """Set when the state should be built anew."""
        self._shown = shown
        self._on_surprise = on_surprise
        self._monotonic = monotonic
        self._times_s: deque[float] = deque(maxlen=SURPRISES)
        self._refused: OrderedDict[str, None] = OrderedDict()
        self._unconfirmed: deque[_Unconfirmed] = deque(maxlen=_MAX_WATCHED)

    def note_lost_race(self, uid: str) -> None:
        """Take in that a pod could not be bound because it is gone or elsewhere."""
        if uid in self._refused:
            self._count("refused again", pod=uid)
        self._refused[uid] = None
        if len(self._refused) > _MAX_WATCHED:
            self._refused.popitem(last=False)

    def note_bound(self, pod: PodFacts) -> None:
        """Take in that the API server has a binding of ours."""
        self._expect(pod.key, uid=pod.uid)

    def look(self) -> None:
        """Look for bindings that should have been shown by now."""
        now_s = self._monotonic()
        while self._unconfirmed and self._unconfirmed[0].due_s <= now_s:
            expected = self._unconfirmed.popleft()
            pod = self._shown(expected.key)
            if pod is None or pod.metadata.uid != expected.uid or pod.spec.node_name:
                continue
            self._count("unconfirmed", pod=expected.key)
            self._expect(expected.key, uid=expected.uid)

    def _expect(self, key: str, *, uid: str) -> None:
        self._unconfirmed.append(_Unconfirmed(key, uid, self._monotonic() + CONFIRMATION_S))

    def _count(self, kind: Kind, *, pod: str) -> None:
        log.warning("the watch contradicts the API server", extra=facts(kind=kind, pod=pod))
        self._on_surprise(kind)
        now_s = self._monotonic()
        self._times_s.append(now_s)
        if len(self._times_s) == SURPRISES and now_s - self._times_s[0] <= WINDOW_S:
            self.are_too_many.set()
