"""Nodes with cards, pods that want some, and an engine whose writes come true."""

from dataclasses import replace
from typing import Any

import numpy as np

from scheduler.engine import Engine, EngineSettings
from scheduler.events import (
    Action,
    Bind,
    BindSucceeded,
    NodeSeen,
    PodGone,
    PodSeen,
    Tick,
    WriteFirst,
    Written,
)
from scheduler.framework.configuration import (
    Disabled,
    KubeSchedulerConfiguration,
    PluginConfig,
    Plugins,
    PluginSet,
    ProfileConfiguration,
)
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import ScorePlugin
from scheduler.framework.profile import make_profiles
from scheduler.framework.registry import Registry
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import ScoreColumn
from scheduler.model import GPU_CARD_MODEL, GPU_COUNT, GPU_INDEX, GPU_MILLI, NodeFacts, PodFacts
from scheduler.plugins.default_binder import DefaultBinder
from scheduler.plugins.default_preemption import DefaultPreemption
from scheduler.plugins.gpu.share import GpuShare, GpuShareArgs
from scheduler.plugins.node_resources import NodeResourcesFit
from scheduler.plugins.queue_order import PrioritySort
from tests.unit.scheduler.worlds import make_facts, make_pending


class _Arguments(PluginConfig, frozen=True, tag_field="name", tag=GpuShare.name):
    pass


class LowestNumber(ScorePlugin):
    """Of up to a hundred nodes prefers the one with the smallest number in its name."""

    name = "LowestNumber"

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        return 100 - np.array([int(name[1:]) for name in snapshot.names], dtype=np.int64)


def make_gpu_node(
    name: str = "n1", *, n_cards: int = 2, model: str = "", cpu_milli: int = 16_000, **more: Any
) -> NodeFacts:
    return make_facts(
        name,
        cpu_milli=cpu_milli,
        allocatable={GPU_COUNT: n_cards, GPU_MILLI: 1000} if n_cards else {},
        labels={GPU_CARD_MODEL: model} if model else {},
        **more,
    )


def make_gpu_pod(
    name: str = "p1",
    milli: int | str = 1000,
    count: int | str | None = 1,
    *,
    model: str = "",
    index: str = "",
    cpu_milli: int = 4000,
    **more: Any,
) -> PodFacts:
    said = {GPU_MILLI: milli, GPU_COUNT: count, GPU_CARD_MODEL: model, GPU_INDEX: index}
    annotations = {key: str(value) for key, value in said.items() if value not in (None, "")}
    return make_pending(name, cpu_milli=cpu_milli, memory_bytes=1, annotations=annotations, **more)


class GpuWorld:
    """An API server of few words: what an engine writes and binds is so at once.

    Args:
        nodes: Of the cluster.
        args: Of GpuShare.
    """

    def __init__(self, *nodes: NodeFacts, args: GpuShareArgs | None = None) -> None:
        self.nodes = nodes
        self.pods: dict[str, PodFacts] = {}
        self.now_s = 0.0
        self._args = args or GpuShareArgs()
        self.engine = self._engine()

    def restart(self) -> None:
        """Have a new engine take over, which knows what the API server does."""
        self.engine = self._engine()
        for pod in self.pods.values():
            self.engine.handle(PodSeen(pod), now_s=self.now_s)

    def _engine(self) -> Engine:
        registry = Registry(
            [
                (PrioritySort, 0),
                (NodeResourcesFit, 0),
                (DefaultPreemption, 0),
                (DefaultBinder, 0),
                # What it says outweighs which node is first, which decides among equals.
                (GpuShare, 1000),
                (LowestNumber, 1),
            ]
        )
        only_filter = PluginSet(disabled=(Disabled(name=NodeResourcesFit.name),))
        profile = ProfileConfiguration(
            scheduler_name="ai-scheduler",
            plugins=Plugins(score=only_filter),
            plugin_config=(_Arguments(args=self._args),),
        )
        configuration = KubeSchedulerConfiguration(
            api_version="kubescheduler.config.k8s.io/v1",
            kind="KubeSchedulerConfiguration",
            profiles=(profile,),
        )
        engine = Engine(make_profiles(configuration, registry=registry), settings=EngineSettings())
        for node in self.nodes:
            engine.handle(NodeSeen(node), now_s=self.now_s)
        return engine

    def come(self, *pods: PodFacts) -> list[Action]:
        """Have pods made, and the engine decide until it has nothing more to say."""
        for pod in pods:
            self._show(pod)
        said: list[Action] = []
        while new := self.engine.handle(Tick(), now_s=self.now_s):
            said += self._carry_out(new)
        return said

    def go(self, uid: str) -> None:
        """Have a pod deleted."""
        pod = self.pods.pop(uid)
        self.engine.handle(PodGone(pod.key, uid), now_s=self.now_s)

    def cards(self, name: str) -> str:
        """Tell where a pod is, as ``node/0-2``; empty if it waits."""
        pod = self.pods[f"uid-of-{name}"]
        return f"{pod.node_name}/{pod.annotations.get(GPU_INDEX, '')}" if pod.node_name else ""

    def _show(self, pod: PodFacts) -> None:
        self.pods[pod.uid] = pod
        self.engine.handle(PodSeen(pod), now_s=self.now_s)

    def _carry_out(self, actions: list[Action]) -> list[Action]:
        said = list(actions)
        for action in actions:
            match action:
                case WriteFirst(pod, writes):
                    [write] = writes
                    written = write.body["metadata"]["annotations"]
                    pod = self.pods[pod.uid]
                    self._show(replace(pod, annotations={**pod.annotations, **written}))
                    more = self.engine.handle(Written(pod.uid), now_s=self.now_s)
                    said += self._carry_out(more)
                case Bind(pod, node):
                    more = self.engine.handle(BindSucceeded(pod.uid), now_s=self.now_s)
                    bound = replace(
                        self.pods[pod.uid], node_name=node, scheduled_at_s=self.now_s + 1
                    )
                    self._show(bound)
                    said += self._carry_out(more)
                case _:
                    pass
        return said
