"""Asks the predictor, within a time budget, and leaves it alone while it is down."""

import logging
import random
import threading
import time
from collections.abc import Callable
from itertools import islice, takewhile
from typing import Final

import msgspec
import numpy as np
import requests

from kube.backoff import Backoff
from kube.edge.answers import AnswerError, read_whole
from kube.edge.logs import facts
from predictor.contract import MAX_SHAPES, BatchRequest, BatchResponse, ShapePrediction
from predictor.contract import Shape as AskedShape
from scheduler.events import Event, Predicted, PredictionFailed
from scheduler.model import Shape, Usage
from scheduler.predictions import FloatColumn, Outage, PredictionAnswer

log = logging.getLogger(__name__)

_MAX_ANSWER_BYTES: Final = 256 * 2**20


class BadAnswerError(Exception):
    """The predictor's answer is none, or none to our question."""


class PredictionAsker:
    """Puts one question at a time to the predictor, in a thread of its own.

    Every shape is answered for within the budget, by ``Predicted`` or by ``PredictionFailed``,
    whatever was asked before it. After failures the predictor is not asked for a while (a circuit
    breaker with growing pauses): a dead one then costs nothing.

    Args:
        url: Where the predictor is.
        timeout_s: The budget of each shape, in seconds.
        give_up_s: An answer later than this is given up, in seconds; one within it still serves
            the pods that come next.
        deliver: Takes events to the engine.
        on_asked: Told of every question: how it went, and how long it took in seconds.
        rng: Jitter.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        give_up_s: float,
        deliver: Callable[[Event], None],
        on_asked: Callable[[str, float], None],
        rng: random.Random,
    ) -> None:
        self._url = f"{url.rstrip('/')}/predict/batch"
        self._timeout_s = timeout_s
        self._give_up_s = give_up_s
        self._deliver = deliver
        self._on_asked = on_asked
        self._backoff = Backoff(rng, base_s=1.0, max_s=30.0)
        self._changed = threading.Condition()
        self._deadlines: dict[Shape, float] = {}
        """Until when the engine waits for a shape; the earliest first."""
        self._unsent: dict[Shape, None] = {}
        self._sent: tuple[Shape, ...] = ()
        self._is_late = False
        """Whether the engine has given up waiting for the question under way."""
        self._closed_until_s = 0.0
        self._last_outage: Outage = "unavailable"
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="predictor", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def is_resting(self) -> bool:
        """Whether the predictor is not being asked for a while."""
        return time.monotonic() < self._closed_until_s

    def ask(self, shapes: tuple[Shape, ...]) -> None:
        """Ask about *shapes*; the answer, or that there is none, is delivered in time."""
        with self._changed:
            if not (self.is_resting or self._is_late):
                deadline_s = time.monotonic() + self._timeout_s
                self._deadlines.update(dict.fromkeys(shapes, deadline_s))
                self._unsent.update(dict.fromkeys(shapes))
                self._changed.notify_all()
                return
        self._deliver(PredictionFailed(shapes, self._last_outage))

    def enforce_budget(self) -> float | None:
        """Let the engine go on where an answer is late.

        Returns:
            In how many seconds to look again; ``None`` if nothing is awaited.
        """
        now_s = time.monotonic()
        with self._changed:
            overdue = tuple(
                shape for shape, _ in takewhile(lambda i: i[1] <= now_s, self._deadlines.items())
            )
            for shape in overdue:
                del self._deadlines[shape]
                self._unsent.pop(shape, None)
            if overdue:
                self._last_outage = "timed out"
                self._is_late = bool(self._sent)
            next_s = next(iter(self._deadlines.values()), None)
        if overdue:
            self._deliver(PredictionFailed(overdue, "timed out"))
        return None if next_s is None else next_s - now_s

    def stop(self) -> None:
        """Ask no more."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._thread.join(self._give_up_s + 1.0)

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while (shapes := self._next_question()) is not None:
                self._answer(session, shapes)

    def _next_question(self) -> tuple[Shape, ...] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or self._unsent)
            if self._is_stopped:
                return None
            self._sent = tuple(islice(self._unsent, MAX_SHAPES))
            for shape in self._sent:
                del self._unsent[shape]
            return self._sent

    def _answer(self, session: requests.Session, shapes: tuple[Shape, ...]) -> None:
        started_s = time.monotonic()
        try:
            answer = self._fetch(session, shapes, give_up_at_s=started_s + self._give_up_s)
        except (requests.RequestException, AnswerError, BadAnswerError) as error:
            took_s = time.monotonic() - started_s
            outage: Outage = "timed out" if took_s >= self._timeout_s else "unavailable"
            log.warning("predictor did not answer", extra=facts(error=str(error), took_s=took_s))
            self._rest(self._backoff.next_delay_s(at_least_s=0.5), outage=outage)
            self._on_asked(outage, took_s)
            return
        self._backoff.reset()
        took_s = time.monotonic() - started_s
        with self._changed:
            for shape in shapes:
                self._deadlines.pop(shape, None)
            self._sent, self._is_late = (), False
        # Late or not: it serves the pods that come next.
        self._deliver(Predicted(answer))
        self._on_asked("late" if took_s > self._timeout_s else "answered", took_s)

    def _rest(self, pause_s: float, *, outage: Outage) -> None:
        """Leave the predictor alone for a while; nobody need wait for it meanwhile."""
        with self._changed:
            self._last_outage = outage
            self._closed_until_s = time.monotonic() + pause_s
            waiting = tuple(self._deadlines)
            self._deadlines.clear()
            self._unsent.clear()
            self._sent, self._is_late = (), False
        if waiting:
            self._deliver(PredictionFailed(waiting, outage))

    def _fetch(
        self, session: requests.Session, shapes: tuple[Shape, ...], *, give_up_at_s: float
    ) -> PredictionAnswer:
        """Ask and read the answer.

        Raises:
            RequestException: The predictor did not answer, or not with 200.
            BadAnswerError: It answered something else.
            AnswerError: It answers too slowly, or too much.
        """
        with session.post(
            self._url,
            data=msgspec.json.encode(_question_about(shapes)),
            headers={"Content-Type": "application/json"},
            # Each wait for the socket; the whole is bounded below.
            timeout=(self._timeout_s, self._give_up_s),
            stream=True,
            allow_redirects=False,
        ) as response:
            if response.status_code != requests.codes.ok:
                raise BadAnswerError(f"HTTP {response.status_code}")
            body = read_whole(response, max_bytes=_MAX_ANSWER_BYTES, until_s=give_up_at_s)
        return read_answer(body, shapes=shapes)


def _question_about(shapes: tuple[Shape, ...]) -> BatchRequest:
    # No candidate nodes: the predictor then rates all that it knows. A node that joined a moment
    # ago, named to a predictor that has not heard of it, would spoil the whole answer.
    return BatchRequest(
        shapes=[
            AskedShape(
                cpu_milli=shape.cpu_milli,
                memory_bytes=shape.memory_bytes,
                pod_namespace=shape.namespace,
                workload=shape.workload,
            )
            for shape in shapes
        ]
    )


def read_answer(body: bytes, *, shapes: tuple[Shape, ...]) -> PredictionAnswer:
    """Read a ``BatchResponse``.

    Raises:
        BadAnswerError: It is none, or its lists do not fit together, or a value is out of range.
    """
    try:
        answer = msgspec.json.decode(body, type=BatchResponse)
    except msgspec.DecodeError as error:
        raise BadAnswerError(str(error)) from error
    if len(answer.predictions) != len(shapes):
        raise BadAnswerError("not as many predictions as shapes")
    scores = _matrix([p.scores for p in answer.predictions], n_nodes=len(answer.nodes), top=100)
    p_success: FloatColumn | None = None
    probabilities = [p.p_success for p in answer.predictions if p.p_success is not None]
    if len(probabilities) == len(shapes):
        p_success = _matrix(probabilities, n_nodes=len(answer.nodes), top=1)
    load_scores: FloatColumn | None = None
    loads = [p.load_scores for p in answer.predictions if p.load_scores is not None]
    if len(loads) == len(shapes):
        load_scores = _matrix(loads, n_nodes=len(answer.nodes), top=100)
    return PredictionAnswer(
        nodes=tuple(answer.nodes),
        algorithm=answer.algorithm,
        model_version=answer.model_version,
        snapshot_at_s=answer.snapshot_at_s,
        shapes=shapes,
        prediction_ids=tuple(p.prediction_id for p in answer.predictions),
        scores=scores,
        p_success=p_success,
        usual=tuple(_usual(p) for p in answer.predictions),
        load_scores=load_scores,
    )


def _usual(said: ShapePrediction) -> Usage | None:
    if said.usual_cpu_milli is None or said.usual_memory_bytes is None:
        return None
    return Usage(said.usual_cpu_milli, said.usual_memory_bytes)


def _matrix(rows: list[list[int]] | list[list[float]], *, n_nodes: int, top: int) -> FloatColumn:
    if any(len(row) != n_nodes for row in rows):
        raise BadAnswerError("not as many values as nodes")
    matrix = np.array(rows, dtype=np.float64)
    if not ((matrix >= 0) & (matrix <= top)).all():
        raise BadAnswerError(f"a value outside 0..{top}")
    return matrix
