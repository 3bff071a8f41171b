"""Engines and facts for the scheduler's tests; what a test does not name has sane values."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kube.quantity import CPU, MEMORY
from scheduler.cluster.questions import NoAnswerError, Question
from scheduler.engine import Engine, EngineSettings
from scheduler.events import Action, Bind, Event, NodeSeen, Record, Tick
from scheduler.extender.routes import Extender
from scheduler.framework.configuration import (
    KubeSchedulerConfiguration,
    Plugins,
    ProfileConfiguration,
)
from scheduler.framework.profile import Profile, make_profiles
from scheduler.framework.snapshot import Snapshot
from scheduler.model import PODS, NodeFacts, PodFacts, Shape, Usage
from scheduler.plugins.defaults import built_in_configuration, built_in_registry
from scheduler.predictions import PredictionAnswer

GI = 2**30


def make_facts(
    name: str = "n1", *, cpu_milli: int = 4000, memory_bytes: int = 8 * GI, **more: Any
) -> NodeFacts:
    allocatable = {CPU: cpu_milli, MEMORY: memory_bytes, PODS: 110}
    return NodeFacts(name, allocatable={**allocatable, **more.pop("allocatable", {})}, **more)


def make_pending(
    name: str = "web-1", *, cpu_milli: int = 500, memory_bytes: int = GI // 2, **more: Any
) -> PodFacts:
    requests = {CPU: cpu_milli, MEMORY: memory_bytes, **more.pop("requests", {})}
    fields: dict[str, Any] = {
        "namespace": "default",
        "name": name,
        "uid": f"uid-of-{name}",
        "scheduler_name": "ai-scheduler",
        "requests": requests,
        "scored_requests": requests,
        "workload": "default/Deployment/web",
    }
    return PodFacts(**{**fields, **more})


def make_snapshot(*nodes: NodeFacts, pods: Iterable[tuple[PodFacts, str]] = ()) -> Snapshot:
    """Make a snapshot of *nodes* with *pods*, each with its node's name."""
    snapshot = Snapshot()
    for node in nodes:
        snapshot.set_node(node)
    for pod, name in pods:
        snapshot.add_pod(pod, node=name)
    return snapshot


def make_profile(
    *, plugins: Plugins | None = None, scheduler_name: str = "ai-scheduler"
) -> Profile:
    """Make a profile of kube-scheduler's default plugins, changed by *plugins*."""
    configuration = KubeSchedulerConfiguration(
        api_version="kubescheduler.config.k8s.io/v1",
        kind="KubeSchedulerConfiguration",
        profiles=(
            ProfileConfiguration(scheduler_name=scheduler_name, plugins=plugins or Plugins()),
        ),
    )
    return make_profiles(configuration, registry=built_in_registry())[scheduler_name]


def make_engine(*nodes: str | NodeFacts, predicts: bool = False, **settings: Any) -> Engine:
    """Make an engine that knows *nodes*; with ``predicts`` it has the built-in profile."""
    profiles: Mapping[str, Profile] = {"ai-scheduler": make_profile()}
    if predicts:
        profiles = make_profiles(built_in_configuration(), registry=built_in_registry())
    engine = Engine(profiles, settings=EngineSettings(**settings))
    for node in nodes:
        engine.handle(NodeSeen(make_facts(node) if isinstance(node, str) else node), now_s=0.0)
    return engine


def feed(engine: Engine, events: Iterable[Event], *, now_s: float = 0.0) -> list[Action]:
    """Hand in events, then let the engine decide."""
    actions = [action for event in events for action in engine.handle(event, now_s=now_s)]
    return actions + engine.handle(Tick(), now_s=now_s)


def decide(engine: Engine, *, now_s: float = 0.0) -> list[Action]:
    """Let the engine decide until it has nothing more to say."""
    actions: list[Action] = []
    while new := engine.handle(Tick(), now_s=now_s):
        actions += new
    return actions


def placements(actions: Iterable[Action]) -> dict[str, str]:
    """Read from actions which pod goes to which node."""
    return {action.pod.name: action.node for action in actions if isinstance(action, Bind)}


def decisions(actions: Iterable[Action]) -> list[Any]:
    """Read the decisions from actions."""
    return [action.decision for action in actions if isinstance(action, Record)]


def make_answer(
    shapes: Iterable[Shape],
    p_success: Mapping[str, float] | None = None,
    *,
    scores: Mapping[str, int] | None = None,
    snapshot_at_s: float = 0.0,
    usual: Usage | None = None,
) -> PredictionAnswer:
    """Make the predictor's answer: the same values by node for every shape."""
    asked = tuple(shapes)
    nodes = tuple(p_success or scores or {})
    p = None if p_success is None else np.tile(list(p_success.values()), (len(asked), 1))
    values = list(scores.values()) if scores is not None else [50] * len(nodes)
    return PredictionAnswer(
        nodes=nodes,
        algorithm="enhanced_scoring" if p is None else "ml_prediction",
        model_version=0 if p is None else 7,
        snapshot_at_s=snapshot_at_s,
        shapes=asked,
        prediction_ids=tuple(f"prediction-{i}" for i in range(len(asked))),
        scores=np.tile(np.array(values, dtype=np.float64), (len(asked), 1)),
        p_success=p,
        usual=(usual,) * len(asked),
    )


class _NoShell:
    def ask(self, question: Question[Any], *, timeout_s: float) -> Any:
        raise NoAnswerError("waiting for the list of pods")

    def bind(self, action: Bind, *, timeout_s: float) -> str:
        return "not leader"


def no_extender() -> Extender:
    """Make an extender with no engine behind it."""
    return Extender(shell=_NoShell(), profile="ai-scheduler", timeout_s=1.0)
