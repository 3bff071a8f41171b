"""The predictor's answers as the engine keeps them: by shape, with an age, and corrected.

An answer describes the cluster as it was. What the engine has placed since is remembered here and
counted against each node, or a burst of pods would all go to the node that looked best before it.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from kube.quantity import CPU, MEMORY
from scheduler.framework.changes import NEVER
from scheduler.framework.snapshot import Snapshot
from scheduler.model import PodFacts, Shape, Usage
from scheduler.plugins.prediction import PredictedScores

FloatColumn = NDArray[np.float64]
Outage = Literal["timed out", "unavailable"]

_MAX_SHAPES: Final = 2_000
_MAX_OUTAGES: Final = 100_000
"""Small; one that is forgotten too early makes its pods wait for the predictor again."""
_MAX_PLACEMENTS: Final = 200_000


@dataclass(frozen=True, slots=True)
class PredictionSettings:
    """How long what the predictor said, or did not say, holds (on the cluster's clock)."""

    max_age_s: float = 30.0
    """An older answer is asked for anew."""
    retry_after_s: float = 1.0
    """After a failure the engine goes on without for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionAnswer:
    """One answer of the predictor: some shapes on some nodes."""

    nodes: tuple[str, ...]
    algorithm: str
    model_version: int
    snapshot_at_s: float
    shapes: tuple[Shape, ...]
    prediction_ids: tuple[str, ...]
    """Aligned with ``shapes``."""
    scores: FloatColumn
    """Shape ``(n_shapes, n_nodes)``, 0 to 100."""
    p_success: FloatColumn | None
    """The same shape; ``None`` without a trusted model."""
    usual: tuple[Usage | None, ...]
    """What a running pod of each shape's workload usually uses; ``None``: not known."""
    load_scores: FloatColumn | None = None
    """Shape ``(n_shapes, n_nodes)``, 0 to 100: how little load there is; ``None`` without a model,
    when ``scores`` tell that."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is known for one shape."""

    prediction_id: str
    answer: PredictionAnswer
    index: int
    """The shape's place in the answer."""
    places: Mapping[str, int]
    """Each node's place in the answer."""

    @property
    def usual(self) -> Usage | None:
        """What a running pod of the shape's workload usually uses, if that is known."""
        return self.answer.usual[self.index]

    def p_success(self, node: str) -> float | None:
        """Return the predicted p(success) on *node*, if there is one."""
        place = self.places.get(node)
        if self.answer.p_success is None or place is None:
            return None
        return float(self.answer.p_success[self.index, place])


@dataclass(frozen=True, slots=True)
class _Placed:
    """Something that the engine gave away on a node, or took back (negative)."""

    at_s: float
    pod_uid: str
    node: str
    cpu_milli: int
    memory_bytes: int


@dataclass(slots=True)
class _View:
    """One answer, laid over the rows of the snapshot."""

    n_placed_before: int
    """What came later is surely not in the answer, whatever the clocks of two programs say."""
    generation: int = -1
    positions: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    """By row, the node's place in the answer; past the end where it has none."""
    unseen: dict[str, FloatColumn] = field(default_factory=dict)
    unseen_ratio: FloatColumn = field(default_factory=lambda: np.zeros(0))
    n_counted: int = 0
    node_version: int = NEVER


@dataclass(slots=True)
class _Entry:
    prediction: Prediction
    view: _View
    received_at_s: float


class PredictionBook:
    """Answers by shape; bounded in number and in age.

    Args:
        settings: How long answers and failures hold.
    """

    def __init__(self, settings: PredictionSettings) -> None:
        self._settings = settings
        self._entries: OrderedDict[Shape, _Entry] = OrderedDict()
        self._outages: OrderedDict[Shape, tuple[float, Outage]] = OrderedDict()
        self._placed: deque[_Placed] = deque()
        self._n_placed = 0
        self._counted: dict[str, Usage] = {}
        """What each pod placed lately was counted at, by uid: as much is taken back."""

    def take(self, answer: PredictionAnswer, *, now_s: float) -> None:
        """Keep an answer."""
        view = _View(self._n_placed)
        places = {name: place for place, name in enumerate(answer.nodes)}
        for index, (shape, prediction_id) in enumerate(
            zip(answer.shapes, answer.prediction_ids, strict=True)
        ):
            self._outages.pop(shape, None)
            self._entries.pop(shape, None)
            self._entries[shape] = _Entry(
                Prediction(prediction_id, answer, index, places), view, now_s
            )
        while len(self._entries) > _MAX_SHAPES:
            self._entries.popitem(last=False)

    def take_failure(self, shapes: Iterable[Shape], *, outage: Outage, now_s: float) -> None:
        """Note that there is no answer, so that pods go on without one for a while."""
        for shape in shapes:
            self._outages.pop(shape, None)
            self._outages[shape] = (now_s + self._settings.retry_after_s, outage)
        while len(self._outages) > _MAX_OUTAGES:
            self._outages.popitem(last=False)

    def is_settled(self, shape: Shape, *, now_s: float) -> bool:
        """Tell whether there is an answer or a failure that still holds."""
        return self.get(shape, now_s=now_s) is not None or self.outage(shape, now_s=now_s) != ""

    def get(self, shape: Shape, *, now_s: float) -> Prediction | None:
        """Return what is known for a shape."""
        entry = self._entries.get(shape)
        if entry is None or now_s - entry.received_at_s > self._settings.max_age_s:
            return None
        return entry.prediction

    def outage(self, shape: Shape, *, now_s: float) -> Outage | Literal[""]:
        """Tell why there is no answer; empty if it was not asked for or the failure is old."""
        until_s, outage = self._outages.get(shape, (0.0, None))
        return outage if outage is not None and now_s < until_s else ""

    def note_placed(self, pod: PodFacts, *, node: str, now_s: float, sign: int = 1) -> None:
        """Remember what was placed (``sign`` 1) or taken back (-1) after the predictor looked."""
        expected = self._counted.get(pod.uid) if sign < 0 else None
        expected = expected or self._expected(pod)
        if sign > 0:
            self._counted[pod.uid] = expected
        self._placed.append(
            _Placed(now_s, pod.uid, node, sign * expected.cpu_milli, sign * expected.memory_bytes)
        )
        self._n_placed += 1
        oldest_s = now_s - 2 * self._settings.max_age_s
        while self._placed[0].at_s < oldest_s or len(self._placed) > _MAX_PLACEMENTS:
            self._counted.pop(self._placed.popleft().pod_uid, None)

    def _expected(self, pod: PodFacts) -> Usage:
        """Tell what a pod will add to its node's usage: its workload's usual, else its requests.

        Whoever asked for much and uses little would else drive the next pods off a node that the
        next look at the metrics shows nearly unchanged.
        """
        shape = pod.shape
        entry = self._entries.get(shape)
        usual = None if entry is None else entry.prediction.usual
        return usual or Usage(shape.cpu_milli, shape.memory_bytes)

    def scores(self, shape: Shape, *, snapshot: Snapshot) -> PredictedScores:
        """Lay a shape's answer over the rows of *snapshot*.

        Raises:
            KeyError: There is no answer for the shape.
        """
        entry = self._entries[shape]
        answer, view = entry.prediction.answer, entry.view
        if view.generation != snapshot.generation:
            self._lay(view, places=entry.prediction.places, snapshot=snapshot)
        rows = self._catch_up(view, answer=answer, snapshot=snapshot)
        if view.node_version != snapshot.node_changes.version:
            rows = list(range(snapshot.n_nodes))
        if rows:
            view.unseen_ratio[rows] = _unseen_ratio(view.unseen, snapshot=snapshot, rows=rows)
        view.node_version = snapshot.node_changes.version
        index = entry.prediction.index
        said = answer.scores[index] if answer.p_success is None else 100.0 * answer.p_success[index]
        return PredictedScores(
            np.append(said, np.nan)[view.positions],
            view.unseen_ratio.copy(),
            load=None
            if answer.load_scores is None
            else np.append(answer.load_scores[index], np.nan)[view.positions],
        )

    def _lay(self, view: _View, *, places: Mapping[str, int], snapshot: Snapshot) -> None:
        nowhere = len(places)
        view.positions = np.fromiter(
            (places.get(name, nowhere) for name in snapshot.names), dtype=np.intp
        )
        view.unseen = {name: np.zeros(snapshot.n_nodes) for name in (CPU, MEMORY)}
        view.unseen_ratio = np.zeros(snapshot.n_nodes)
        view.generation, view.node_version = snapshot.generation, NEVER
        view.n_counted = self._n_placed - len(self._placed)

    def _catch_up(self, view: _View, *, answer: PredictionAnswer, snapshot: Snapshot) -> list[int]:
        """Count what was placed since; return on which rows."""
        rows: list[int] = []
        n_new = min(self._n_placed - view.n_counted, len(self._placed))
        for back in range(1, n_new + 1):
            placed = self._placed[-back]
            row = snapshot.rows.get(placed.node)
            is_later = self._n_placed - back >= view.n_placed_before
            if row is not None and (is_later or placed.at_s >= answer.snapshot_at_s):
                view.unseen[CPU][row] += placed.cpu_milli
                view.unseen[MEMORY][row] += placed.memory_bytes
                rows.append(row)
        view.n_counted = self._n_placed
        return rows


def _unseen_ratio(
    unseen: dict[str, FloatColumn], *, snapshot: Snapshot, rows: list[int]
) -> FloatColumn:
    shares = [
        amounts[rows] / np.maximum(snapshot.allocatable[resource][rows], 1)
        for resource, amounts in unseen.items()
    ]
    return np.minimum(np.maximum(np.maximum(*shares), 0.0), 1.0)
