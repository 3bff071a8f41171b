"""Scenario files: a cluster, what runs on it, and what of it schedulers cannot see.

``python -m scheduler.simulator schema`` prints the JSON Schema. Durations are written as ``30s``,
``6h`` or ``7d``; a ``Draw`` is a number, or what it is drawn from (``scheduler.simulator.draws``).
Everything is drawn by the seed of a run: all policies meet the same nodes, workloads and arrivals.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from kube.edge.settings import Duration, Interval, Settings, load_settings
from kube.instants import parse_rfc3339
from kube.quantity import QuantityError, parse_milli, parse_whole
from scheduler.simulator.draws import Distribution, Draw
from scheduler.simulator.hardware import NodeNature
from scheduler.simulator.natures import Nature
from scheduler.simulator.parameters import Physics

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$")]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Expectation = Literal["better", "no_worse"]


class Taint(Settings, frozen=True, kw_only=True):
    """A taint on all nodes of a group."""

    key: str
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
    value: str = ""


class NodeGroup(Settings, frozen=True, kw_only=True):
    """Nodes of one make. Their names tell nobody which group they are of."""

    name: Name
    count: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    cpu: str = "4"
    """Capacity, a quantity; so is memory."""
    memory: str = "16Gi"
    max_pods: Annotated[int, msgspec.Meta(ge=1, le=1_000)] | None = None
    """What the kubelets take; if left out, what ``physics.nodes`` says."""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    nature: NodeNature = NodeNature()
    """What schedulers cannot see."""

    def __post_init__(self) -> None:
        try:
            amounts = parse_milli(self.cpu), parse_whole(self.memory)
        except QuantityError as error:
            raise ValueError(str(error)) from error
        if min(amounts) <= 0:
            raise ValueError("cpu and memory must be more than 0")

    @property
    def cpu_milli(self) -> int:
        """Capacity in millicores."""
        return parse_milli(self.cpu)

    @property
    def memory_bytes(self) -> int:
        """Capacity in bytes."""
        return parse_whole(self.memory)


class Workload(Settings, frozen=True):
    """What services and jobs have in common: requests, which all see, and a nature, hidden."""

    name: Name
    kinds: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    """So many workloads of this description, each with requests and a nature of its own."""
    cpu_request_milli: Draw = 250.0
    memory_request_mib: Draw = 512.0
    cpu_limit_ratio: Draw | None = None
    """Of the request; without it, no limit."""
    memory_limit_ratio: Draw | None = None
    priority: Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000)] = 0
    pod_spec: dict[str, Any] = msgspec.field(default_factory=dict)
    """More fields of the pods' spec, as Kubernetes writes them: a node selector, tolerations…"""
    nature: Nature = Nature()
    """What schedulers cannot see."""


class Service(Workload, frozen=True, kw_only=True):
    """Deployments, which run all the time."""

    replicas: Draw = 3.0
    """Of each; rounded, at least 1."""
    rollout_every: Interval | None = None
    """How often a new version is rolled out, on average; at times drawn for each, or never."""


class Job(Workload, frozen=True, kw_only=True):
    """Work that comes, runs and ends: pods with ``restartPolicy: Never`` of one Job a kind."""

    per_hour: Annotated[float, msgspec.Meta(ge=0, le=100_000)]
    """Pods that arrive, all kinds together, on average over a day."""
    diurnal_amplitude: Share = 0.0
    """How far arrivals swing within a day, highest at 14:00 UTC."""
    burst: Draw = 1.0
    """Pods that arrive at once; rounded, at least 1."""
    run_s: Draw = Distribution(uniform=(300.0, 1_800.0))
    """Work of each pod, in seconds on an idle node of ordinary speed."""


class Drift(Settings, frozen=True, kw_only=True):
    """A hidden change of the world."""

    at: Duration
    """Since the beginning of the measured time."""
    nodes: dict[str, NodeNature] = msgspec.field(default_factory=dict)
    """New natures by node group; nobody is told."""
    workloads: dict[str, Nature] = msgspec.field(default_factory=dict)
    """New natures by service or job; what runs changes on the spot."""


# Durations have their defaults from factories: as plain defaults they could not be written into the
# schema, which knows numbers and texts.


class Observation(Settings, frozen=True):
    """How the collector and the predictor are set."""

    collection_interval: Interval = msgspec.field(default_factory=lambda: Interval(60))
    window: Interval = msgspec.field(default_factory=lambda: Interval(600))
    """For how long a placement must stay healthy."""
    retrain_every: Interval = msgspec.field(default_factory=lambda: Interval(6 * 3600))
    """In the measured time; the first model is trained at its beginning."""


class Scenario(Settings, frozen=True, kw_only=True):
    """A cluster, its work and its fate."""

    name: Name
    description: str = ""
    expects: Expectation = "better"
    """What is promised of ``ai`` here, beside kube-default; ``no_worse`` where there is nothing to
    learn."""
    start: str = "2026-03-02T00:00:00Z"
    warm_up: Duration = msgspec.field(default_factory=lambda: Duration(7 * 86_400))
    """Under kube-default, whatever is measured then, while the collector looks on."""
    measured: Interval = msgspec.field(default_factory=lambda: Interval(2 * 86_400))
    nodes: Annotated[tuple[NodeGroup, ...], msgspec.Meta(min_length=1)]
    services: tuple[Service, ...] = ()
    jobs: tuple[Job, ...] = ()
    drifts: tuple[Drift, ...] = ()
    observation: Observation = msgspec.field(default_factory=Observation)
    keep_ended_pods: Duration = msgspec.field(default_factory=lambda: Duration(600))
    """After this, pods that have ended are deleted, as a Job's ``ttlSecondsAfterFinished`` does."""
    physics: Physics = Physics()

    def __post_init__(self) -> None:
        _check_start(self.start)
        _check_unique("nodes", (group.name for group in self.nodes))
        workloads = [group.name for group in (*self.services, *self.jobs)]
        _check_unique("services and jobs", workloads)
        for drift in self.drifts:
            _check_known("drifts: nodes", drift.nodes, known={g.name for g in self.nodes})
            _check_known("drifts: workloads", drift.workloads, known=set(workloads))

    @property
    def n_nodes(self) -> int:
        """How many nodes there are."""
        return sum(group.count for group in self.nodes)


def _check_start(text: str) -> None:
    try:
        at_s = parse_rfc3339(text)
    except ValueError as error:
        raise ValueError(f"start: {text!r} is no RFC 3339 time: {error}") from error
    if at_s < 0:
        raise ValueError(f"start: {text!r} lies before 1970")


def _check_unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what}: two are called {name!r}")
        seen.add(name)


def _check_known(what: str, names: Mapping[str, object], *, known: set[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{what}: there is no {name!r}")


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        SettingsError: It cannot be read, or a key or value is wrong; the message names file, line
            and key.
    """
    return load_settings(Scenario, path=path, env={}, prefix="SCENARIO")


def scenario_schema() -> dict[str, Any]:
    """Write down the format of scenario files as JSON Schema."""
    return msgspec.json.schema(Scenario, schema_hook=_schema_of)


def _schema_of(kind: type) -> dict[str, Any]:
    if issubclass(kind, Duration):
        pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
        return {
            "anyOf": [{"type": "string", "pattern": pattern}, {"type": "number", "minimum": 0}],
            "description": (kind.__doc__ or "").splitlines()[0],
        }
    raise NotImplementedError(f"no schema for {kind}")
