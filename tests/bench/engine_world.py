"""Drives the engine alone, as a shell would, with every request answered at once."""

import gc
import random
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec
import numpy as np

from kube.edge.heap import expect_large_heap
from kube.objects import KubeObject, Namespace, Node, Pod
from scheduler.decision import Decision
from scheduler.engine import Engine, EngineSettings
from scheduler.events import (
    Action,
    AskPrediction,
    Bind,
    BindSucceeded,
    Evict,
    MeasureTaken,
    NodeSeen,
    NodesMeasured,
    ObjectSeen,
    PodGone,
    PodSeen,
    Predicted,
    Record,
    ReportFailure,
    Tick,
    WriteFirst,
    Written,
)
from scheduler.framework.configuration import KubeSchedulerConfiguration, ProfileConfiguration
from scheduler.framework.profile import Profile, make_profiles
from scheduler.model import NodeFacts, PodFacts, Shape, Usage, UsageWindow
from scheduler.plugins.defaults import SCHEDULER_NAME, built_in_registry
from scheduler.predictions import PredictionAnswer
from tests.bench.rules import BrokenRuleError
from tests.bench.templates import Json

T = TypeVar("T")

_START_S = 1_790_000_000.0
_PATIENCE_S = 30.0
"""How long the engine may do nothing, on its own clock, before its pods count as refused."""
_KEPT_DECISIONS = 10_000
"""As many as the running program keeps."""


class NotScheduledError(Exception):
    """Not all pods were scheduled, so there is no figure to print."""


class WrongVictimError(Exception):
    """A pod was to be evicted that is as important as any that wants its place."""


NO_FIGURE = (NotScheduledError, WrongVictimError, BrokenRuleError)


@dataclass(frozen=True, slots=True)
class Cost:
    """What scheduling some pods took."""

    n_pods: int
    cpu_s: float
    wall_s: float

    @property
    def cpu_us_per_pod(self) -> float:
        return self.cpu_s / self.n_pods * 1e6

    @property
    def pods_per_cpu_s(self) -> float:
        return self.n_pods / self.cpu_s

    @property
    def pods_per_wall_s(self) -> float:
        return self.n_pods / self.wall_s


def default_profiles() -> dict[str, Profile]:
    """Make a profile of kube-scheduler's default plugins, without a predictor."""
    configuration = KubeSchedulerConfiguration(
        api_version="kubescheduler.config.k8s.io/v1",
        kind="KubeSchedulerConfiguration",
        profiles=(ProfileConfiguration(scheduler_name=SCHEDULER_NAME),),
    )
    return make_profiles(configuration, registry=built_in_registry())


class EngineWorld:
    """A cluster that consists of the engine and of what it was told.

    Args:
        nodes: Wire objects, as are all that it is told of.
        namespaces: Wire objects.
        profiles: What the engine runs; kube-scheduler's default plugins, if none are given.
    """

    def __init__(
        self,
        nodes: Iterable[Json],
        *,
        namespaces: Iterable[Json] = (),
        profiles: Mapping[str, Profile] | None = None,
    ) -> None:
        expect_large_heap()
        self.engine = Engine(profiles or default_profiles(), settings=EngineSettings())
        self._rng = random.Random(1)
        self.nodes = {node["metadata"]["name"]: node for node in nodes}
        self._pods: dict[str, Json] = {}
        self._waiting: set[str] = set()
        self._highest_priority = 0
        """Of the pods handed in last."""
        self._placed: dict[str, str] = {}
        self._decisions: deque[Decision] = deque(maxlen=_KEPT_DECISIONS)
        self._now_s = _START_S
        self._untimed_s = 0.0
        self._refusal = "without a reason"
        for namespace in namespaces:
            self.see(namespace, kind=Namespace)
        for node in self.nodes.values():
            facts = NodeFacts.from_node(_decode(node, Node))
            self.engine.handle(NodeSeen(facts), now_s=self._now_s)

    @property
    def placed(self) -> list[tuple[Json, str]]:
        """The pods with their nodes, in the order in which they were bound."""
        return [(self._pods[uid], node) for uid, node in self._placed.items()]

    def see(self, found: Json, *, kind: type[KubeObject]) -> None:
        """Tell the engine of an object that is neither node nor pod."""
        self.engine.handle(ObjectSeen(_decode(found, kind)), now_s=self._now_s)

    def measure(self) -> None:
        """Tell the engine what the nodes use, and all else that its plugins want to know."""
        usage = {name: Usage(*self._load(0.1, 0.6)) for name in self.nodes}
        deviations = {name: Usage(*self._load(0.0, 0.1)) for name in self.nodes}
        windows = {
            name: UsageWindow(mean, deviations[name], self._now_s - 900.0, self._now_s)
            for name, mean in usage.items()
        }
        self.engine.handle(NodesMeasured(usage, windows), now_s=self._now_s)
        for measure in self.engine.measures:
            values = {name: self._rng.randrange(10**9) for name in self.nodes}
            self.engine.handle(MeasureTaken(measure, values), now_s=self._now_s)

    def _load(self, least: float, most: float) -> tuple[int, int]:
        """Draw cpu (milli) and memory (bytes) that nodes of 32 cores and 128Gi use."""
        cpu, memory = self._rng.uniform(least, most), self._rng.uniform(least, most)
        return int(cpu * 32_000), int(memory * 128 * 2**30)

    def see_running(self, pod: Json, *, node: str) -> None:
        """Tell the engine of a pod that runs already; nothing of it is kept here."""
        facts = PodFacts.from_pod(_decode(pod, Pod))
        self.engine.handle(PodSeen(replace(facts, node_name=node)), now_s=self._now_s)

    def schedule(self, pods: Iterable[Json]) -> Cost:
        """Hand in pods and let the engine decide until all that wait are bound.

        The cost is the engine's: all events and ticks, the watch's confirmations included, but not
        the reading of the pods, which is the shell's.

        Raises:
            NotScheduledError: Some were not.
        """
        facts = self._read(pods)
        n_pods = len(self._waiting)
        self._untimed_s = 0.0
        # What was made before is not for this run to walk through.
        gc.collect()
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        self._hand_in(facts)
        self._drain()
        cost = Cost(
            n_pods,
            time.process_time() - cpu_s - self._untimed_s,
            time.perf_counter() - wall_s - self._untimed_s,
        )
        if self._waiting:
            raise NotScheduledError(
                f"{len(self._waiting)} of {n_pods} pods not scheduled: {self._refusal}"
            )
        return cost

    def try_in_vain(self, pods: Iterable[Json]) -> bool:
        """Hand in pods that must wait; tell whether none was bound."""
        n_placed = len(self._placed)
        self._hand_in(self._read(pods))
        self._drain()
        return len(self._placed) == n_placed

    def forget(self, pods: Iterable[Json]) -> None:
        """Have pods deleted that wait."""
        for pod in pods:
            meta = pod["metadata"]
            self._waiting.discard(meta["uid"])
            gone = PodGone(f"{meta['namespace']}/{meta['name']}", meta["uid"])
            self.engine.handle(gone, now_s=self._now_s)

    def _read(self, pods: Iterable[Json]) -> list[PodFacts]:
        by_uid = {pod["metadata"]["uid"]: pod for pod in pods}
        self._pods |= by_uid
        self._waiting |= by_uid.keys()
        self._highest_priority = max(map(_priority, by_uid.values()), default=0)
        return [PodFacts.from_pod(_decode(pod, Pod)) for pod in by_uid.values()]

    def _hand_in(self, facts: Iterable[PodFacts]) -> None:
        for each in facts:
            self.engine.handle(PodSeen(each), now_s=self._now_s)

    def _drain(self) -> None:
        """Tick until no pod waits, or nothing has happened for a while."""
        idle_s = 0.0
        while self._waiting and idle_s < _PATIENCE_S:
            if self._perform(self.engine.handle(Tick(), now_s=self._now_s)):
                idle_s = 0.0
            else:
                idle_s += 1.0
                self._now_s += 1.0

    def _perform(self, actions: list[Action]) -> bool:
        """Answer all that the engine asks for; tell whether anything was bound or evicted."""
        is_progress = False
        for action in actions:
            match action:
                case Bind():
                    self._bind(action)
                    is_progress = True
                case Evict():
                    self._evict(action)
                    is_progress = True
                case WriteFirst():
                    is_progress |= self._write(action)
                case AskPrediction(shapes):
                    self._predict(shapes)
                    is_progress = True
                case Record(decision):
                    self._decisions.append(decision)
                case ReportFailure():
                    self._refusal = action.message
                case _:
                    pass
        return is_progress

    def _bind(self, action: Bind) -> None:
        self._placed[action.pod.uid] = action.node
        self._waiting.discard(action.pod.uid)
        self.engine.handle(BindSucceeded(action.pod.uid), now_s=self._now_s)
        # What the watch would bring, ready made.
        began_s = time.perf_counter()
        confirmed = replace(action.pod, node_name=action.node)
        self._untimed_s += time.perf_counter() - began_s
        self.engine.handle(PodSeen(confirmed), now_s=self._now_s)

    def _write(self, action: WriteFirst) -> bool:
        """Have annotations written to a pod, and go on with its binding."""
        pod = action.pod
        for write in action.writes:
            annotations = write.body["metadata"]["annotations"]
            self._pods[pod.uid]["metadata"]["annotations"].update(annotations)
            began_s = time.perf_counter()
            pod = replace(pod, annotations={**pod.annotations, **annotations})
            self._untimed_s += time.perf_counter() - began_s
        self.engine.handle(PodSeen(pod), now_s=self._now_s)
        return self._perform(self.engine.handle(Written(pod.uid), now_s=self._now_s))

    def _predict(self, shapes: tuple[Shape, ...]) -> None:
        """Answer as a predictor with a model; making the answer up is not the engine's work."""
        began_s = time.process_time()
        size = (len(shapes), len(self.nodes))
        draw = np.random.default_rng(len(shapes))
        p_success = draw.uniform(0.5, 1.0, size)
        answer = PredictionAnswer(
            nodes=tuple(self.nodes),
            algorithm="bench",
            model_version=1,
            snapshot_at_s=self._now_s,
            shapes=shapes,
            prediction_ids=tuple(f"prediction-{i}" for i in range(len(shapes))),
            scores=100.0 * p_success,
            p_success=p_success,
            usual=(None,) * len(shapes),
            load_scores=draw.uniform(0.0, 100.0, size),
        )
        self._untimed_s += time.process_time() - began_s
        self.engine.handle(Predicted(answer), now_s=self._now_s)

    def _evict(self, action: Evict) -> None:
        if _priority(self._pods[action.victim.uid]) >= self._highest_priority:
            raise WrongVictimError(action.victim.key)
        del self._placed[action.victim.uid]
        self.engine.handle(PodGone(action.victim.key, action.victim.uid), now_s=self._now_s)


def _priority(pod: Json) -> int:
    return int(pod["spec"].get("priority", 0))


def _decode(wire: Json, kind: type[T]) -> T:
    return msgspec.json.decode(msgspec.json.encode(wire), type=kind)
