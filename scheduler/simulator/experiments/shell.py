"""The second shell round the engine: in virtual time, without threads or waiting.

It lists and watches as the one on a real cluster does, binds and evicts by the same code, through
the door of the simulated API server. A cycle takes no virtual time. What a scheduler only tells
people (events, conditions) is left out.
"""

import random
import threading
from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from kube.decoding import decode_object
from kube.errors import NotFoundError
from kube.objects import KubeObject, Node, Pod
from scheduler.cluster.binder import Binder
from scheduler.cluster.evictor import Evictor
from scheduler.cluster.news import node_event, pod_event
from scheduler.cluster.usage.collector import read_metrics
from scheduler.cluster.watches import is_optional, watched
from scheduler.engine import Engine, EngineSettings
from scheduler.events import (
    Action,
    AskPrediction,
    Bind,
    Event,
    Evict,
    NodeGone,
    ObjectGone,
    ObjectSeen,
    PodGone,
    Predicted,
    PredictionFailed,
    Record,
    Tick,
    WriteFirst,
)
from scheduler.framework.profile import Profile
from scheduler.model import Shape
from scheduler.simulator.door import LocalClient
from scheduler.simulator.experiments.news import News


class Forecasts(Protocol):
    """Answers what a scheduler asks its predictor."""

    def answer(self, shapes: tuple[Shape, ...], *, now_s: float) -> Predicted | PredictionFailed:
        """Rate all nodes for some shapes of pods."""

    def note(self, bound: Bind, *, now_s: float) -> None:
        """Take in where a pod was put."""


class MetricsTeller(Protocol):
    """Says what a scheduler asks the collector."""

    def metrics(self, *, now_s: float) -> bytes:
        """Tell what nodes use, and have used, as JSON."""


class VirtualShell:
    """A scheduler that has just been started on a cluster.

    Args:
        profiles: What it decides by, by scheduler name.
        client: The API server.
        forecasts: Its predictor, if it has one.
        metrics: Its collector, if it has one.
        seed: Breaks ties.
    """

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        *,
        client: LocalClient,
        forecasts: Forecasts | None,
        metrics: MetricsTeller | None = None,
        seed: int,
    ) -> None:
        self._client = client
        self._forecasts = forecasts
        self._metrics = metrics
        self._engine = Engine(profiles, settings=EngineSettings(seed=seed, n_recorded_nodes=0))
        self._results: list[Event] = []
        stop, rng = threading.Event(), random.Random(seed)
        self._binder = Binder(client, deliver=self._results.append, stop=stop, rng=rng)
        self._evictor = Evictor(
            client, deliver=self._results.append, is_leader=lambda: True, stop=stop, rng=rng
        )
        kinds = watched(self._engine.reads)
        self._kinds = {_group_and_plural(path): kind for kind, path in kinds.items()}
        for kind, path in kinds.items():
            self._take(ObjectSeen(found) for found in self._list(path, kind))
        self._take(node_event(node) for node in client.list_objects("/api/v1/nodes", Node)[0])
        self._take(pod_event(pod) for pod in client.list_objects("/api/v1/pods", Pod)[0])

    def turn(self, news: Iterable[News]) -> int:
        """Take in what the watches say, then decide all that can be decided.

        Returns:
            How many pods were bound or asked to go.
        """
        self._take(event for each in news if (event := self._read(each)) is not None)
        n_done = 0
        while True:
            actions = self._engine.handle(Tick(), now_s=self._client.now_s())
            n_done += sum(self._perform(action) for action in actions)
            results, self._results[:] = list(self._results), []
            self._take(results)
            if not results and not any(isinstance(action, Record) for action in actions):
                return n_done

    def measure(self) -> None:
        """Ask for the nodes' usage, if a plugin wants to know."""
        if self._engine.reads_usage and self._metrics is not None:
            now_s = self._client.now_s()
            self._take([read_metrics(self._metrics.metrics(now_s=now_s), now_s=now_s)])

    def _list(self, path: str, kind: type[KubeObject]) -> list[KubeObject]:
        try:
            return self._client.list_objects(path, kind)[0]
        except NotFoundError:
            if is_optional(kind):
                return []
            raise

    def _read(self, news: News) -> Event | None:
        """Read a change as the watches' handlers do."""
        change, is_gone = news.change, news.is_gone
        match news.found:
            case Node() as node:
                return NodeGone(node.metadata.name) if is_gone else node_event(node)
            case Pod() as pod:
                return PodGone(pod.key, pod.metadata.uid) if is_gone else pod_event(pod)
            case None:
                pass
        resource = change.resource
        kind = self._kinds.get((resource.group, resource.plural))
        if kind is None:
            return None
        found = decode_object(msgspec.json.encode(change.new), kind)
        return ObjectGone(kind, found.metadata.key) if is_gone else ObjectSeen(found)

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            for action in self._engine.handle(event, now_s=self._client.now_s()):
                self._perform(action)

    def _perform(self, action: Action) -> bool:
        """Carry out an action; tell whether it changed the cluster."""
        now_s = self._client.now_s()
        match action:
            case AskPrediction(shapes):
                self._results.append(self._ask(shapes, now_s=now_s))
                return False
            case Bind():
                self._binder.bind(action)
                if self._forecasts is not None:
                    self._forecasts.note(action, now_s=now_s)
            case Evict():
                self._evictor.evict(action)
            case WriteFirst():
                self._evictor.write_first(action)
            case _:
                return False
        return True

    def _ask(self, shapes: tuple[Shape, ...], *, now_s: float) -> Predicted | PredictionFailed:
        if self._forecasts is None:
            return PredictionFailed(shapes, "unavailable")
        return self._forecasts.answer(shapes, now_s=now_s)


def _group_and_plural(path: str) -> tuple[str, str]:
    return path.split("/")[2] if path.startswith("/apis/") else "", path.rsplit("/", 1)[1]
