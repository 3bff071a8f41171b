"""Questions of other threads to the engine, which only one thread may touch."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from scheduler.engine import Engine
from scheduler.events import Action, PredictionWanted
from scheduler.model import PodFacts
from scheduler.selection import Cycle

T = TypeVar("T")


class NoAnswerError(Exception):
    """A question was not answered, and may be asked again later; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Generic[T]):
    """Something to find out from what the next cycle of a profile would work with."""

    profile: str
    answer: Callable[[Cycle, float], T]
    """Also given the time, by the engine's clock; must leave everything as it is."""
    awaits: PodFacts | None = None
    """Answered when the predictor has spoken of this pod, or will not in time."""


class Questions:
    """Questions that wait for the engine's thread: few, for who asks is waiting, too.

    Args:
        max_waiting: One more is turned away.
        wake: Makes the engine's thread look here.
    """

    def __init__(self, *, max_waiting: int, wake: Callable[[], None]) -> None:
        self._max_waiting = max_waiting
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: dict[Future[Any], Question[Any]] = {}
        self._is_closed = False

    def ask(self, question: Question[T], *, timeout_s: float) -> T:
        """Wait for the answer; what goes wrong in answering is raised here.

        Raises:
            NoAnswerError: There are too many questions, it took more than *timeout_s* seconds, or
                the engine has stopped.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._is_closed:
                raise NoAnswerError("the scheduler is stopping")
            if len(self._waiting) >= self._max_waiting:
                raise NoAnswerError("too many questions are waiting")
            self._waiting[future] = question
        self._wake()
        try:
            return future.result(timeout_s)
        except TimeoutError as error:
            raise NoAnswerError(f"no answer within {timeout_s:g} s") from error
        except CancelledError as error:
            raise NoAnswerError("the scheduler is stopping") from error
        finally:
            with self._lock:
                future.cancel()
                self._waiting.pop(future, None)

    def answer(self, engine: Engine, *, now_s: float) -> list[Action]:
        """Answer what can be answered now; called by the engine's thread alone.

        Returns:
            What the shell has to do for the others.
        """
        with self._lock:
            waiting = list(self._waiting.items())
            self._waiting.clear()
        unripe: dict[Future[Any], Question[Any]] = {}
        actions: list[Action] = []
        for future, question in waiting:
            pod, profile = question.awaits, question.profile
            if pod is not None and engine.wants_prediction(pod, profile=profile, now_s=now_s):
                actions += engine.handle(PredictionWanted(pod.shape), now_s=now_s)
                unripe[future] = question
            elif future.set_running_or_notify_cancel():
                _answer(future, question, cycle=engine.cycle(profile), now_s=now_s)
        with self._lock:
            for future, question in unripe.items():
                if not future.cancelled():
                    self._waiting[future] = question
        return actions

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._lock:
            self._is_closed = True
            waiting = list(self._waiting)
        for future in waiting:
            future.cancel()


def _answer(future: Future[T], question: Question[T], *, cycle: Cycle, now_s: float) -> None:
    try:
        future.set_result(question.answer(cycle, now_s))
    except Exception as error:  # noqa: BLE001 (it is raised again where the question was asked)
        future.set_exception(error)
