"""Scenario files: a cluster, what runs on it, and what of it schedulers cannot see.

``python -m scheduler.simulator schema`` prints the JSON Schema. Durations are written as ``30s``,
``6h`` or ``7d``; a ``Draw`` is a number, or what it is drawn from (``scheduler.simulator.draws``).
Everything is drawn by the seed of a run: all policies meet the same nodes, workloads and arrivals.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from kube.edge.settings import Duration, Interval, Settings, SettingsError, load_settings
from kube.instants import parse_rfc3339
from kube.quantity import QuantityError, parse_milli, parse_whole
from scheduler.simulator.draws import Distribution, Draw, NotNegative
from scheduler.simulator.experiments.rewards import RewardWeights
from scheduler.simulator.hardware import NodeNature, Numa
from scheduler.simulator.natures import Nature
from scheduler.simulator.parameters import Physics
from scheduler.simulator.traces.recording import RecordedCluster, load_recording

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$")]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
ExtendedAmount = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
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
    extended_resources: dict[str, ExtendedAmount] = msgspec.field(default_factory=dict)
    """What each has beside, and may give away: cards, licences…"""
    numa: Numa | None = None
    """If given, kubelets align pods with zones, and agents report what these have left."""
    nature: NodeNature = NodeNature()
    """What schedulers cannot see."""

    def __post_init__(self) -> None:
        try:
            amounts = parse_milli(self.cpu), parse_whole(self.memory)
        except QuantityError as error:
            raise ValueError(str(error)) from error
        if min(amounts) <= 0:
            raise ValueError("cpu and memory must be more than 0")
        _check_extended("extended_resources", self.extended_resources)
        if self.numa is not None:
            _check_numa(self.numa, group=self)

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
    namespace: Name = "default"
    """Any other must be among the scenario's manifests."""
    kinds: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    """So many workloads of this description, each with requests and a nature of its own."""
    cpu_request_milli: Draw = 250.0
    memory_request_mib: Draw = 512.0
    cpu_limit_ratio: Draw | None = None
    """Of the request; without it, no limit."""
    memory_limit_ratio: Draw | None = None
    priority: Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000)] = 0
    extended_requests: dict[str, ExtendedAmount] = msgspec.field(default_factory=dict)
    """Of each pod; its limits, too. Schedulers count them, and nothing else comes of them."""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    """Of the pods, beside ``app``."""
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    """Of the pods, beside what other fields make."""
    pod_spec: dict[str, Any] = msgspec.field(default_factory=dict)
    """More fields of the pods' spec, as Kubernetes writes them: a node selector, tolerations…"""
    nature: Nature = Nature()
    """What schedulers cannot see."""

    def __post_init__(self) -> None:
        _check_extended("extended_requests", self.extended_requests)


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
    hourly: (
        Annotated[tuple[NotNegative, ...], msgspec.Meta(min_length=24, max_length=24)] | None
    ) = None
    """Instead of that: how many arrive in each hour of the day (UTC), in any unit."""
    burst: Draw = 1.0
    """Pods that arrive at once; rounded, at least 1."""
    run_s: Draw = Distribution(uniform=(300.0, 1_800.0))
    """Work of each pod, in seconds on an idle node of ordinary speed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hourly is None:
            return
        if self.diurnal_amplitude:
            raise ValueError("hourly: give this, or diurnal_amplitude")
        if not any(self.hourly):
            raise ValueError("hourly: in some hour, something must arrive")


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


class Recording(Settings, frozen=True, kw_only=True):
    """A recorded cluster, run again; files are named relative to the scenario's own."""

    nodes: str = ""
    """A file of ``scheduler.simulator.traces.rows.NodeRow``; so is the next, of ``PodRow``."""
    pods: str = ""
    usage: str = ""
    """What pods or workloads used, by ``namespace/pod`` or ``namespace/kind/workload``; what is not
    there is drawn."""
    from_s: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """The files' time at which the scenario starts; if left out, its own, for they tell Unix
    time."""
    node_nature: NodeNature = NodeNature()
    """What is hidden of recorded nodes."""
    nature: Nature = Nature()
    """What is hidden of recorded pods, as far as it was not recorded."""

    def __post_init__(self) -> None:
        if not (self.nodes or self.pods):
            raise ValueError("name a file of nodes, of pods, or of both")
        if self.usage and not self.pods:
            raise ValueError("usage: of which pods?")

    def beside(self, folder: Path) -> "Recording":
        """Name the files as they are found from here, and not from *folder*."""
        found = {
            name: str(folder / getattr(self, name)) if getattr(self, name) else ""
            for name in ("nodes", "pods", "usage")
        }
        return msgspec.structs.replace(self, **found)

    def load(self) -> RecordedCluster:
        """Read the files, once a process.

        Raises:
            TraceError: One cannot be read, or a row is malformed.
        """
        return load_recording(nodes=self.nodes, pods=self.pods, usage=self.usage)


class Scenario(Settings, frozen=True, kw_only=True):
    """A cluster, its work and its fate."""

    name: Name
    description: str = ""
    expects: Expectation = "better"
    """What is promised of ``ai`` here, beside kube-default; ``no_worse`` where there is nothing to
    learn."""
    policies: tuple[str, ...] = ()
    """Whom to compare unless somebody says otherwise: names, and files of profiles, named relative
    to the scenario's own. If left out, all that have names."""
    start: str = "2026-03-02T00:00:00Z"
    warm_up: Duration = msgspec.field(default_factory=lambda: Duration(7 * 86_400))
    """Under kube-default, whatever is measured then, while the collector looks on."""
    measured: Interval = msgspec.field(default_factory=lambda: Interval(2 * 86_400))
    nodes: Annotated[tuple[NodeGroup, ...], msgspec.Meta(min_length=1)] = ()
    """Needed unless nodes were recorded."""
    recording: Recording | None = None
    """What there is beside all that is described here."""
    manifests: tuple[str, ...] = ()
    """Files of objects that are there from the start, or folders of such files, named relative to
    the scenario's own: namespaces, definitions of custom resources, quotas."""
    services: tuple[Service, ...] = ()
    jobs: tuple[Job, ...] = ()
    drifts: tuple[Drift, ...] = ()
    observation: Observation = msgspec.field(default_factory=Observation)
    keep_ended_pods: Duration = msgspec.field(default_factory=lambda: Duration(600))
    """After this, pods that have ended are deleted, as a Job's ``ttlSecondsAfterFinished`` does."""
    physics: Physics = Physics()
    reward: RewardWeights = RewardWeights()
    """What a policy learns to avoid."""

    def __post_init__(self) -> None:
        _check_start(self.start)
        if not self.nodes and not (self.recording is not None and self.recording.nodes):
            raise ValueError("nodes: describe some, or name a recording of them")
        _check_unique("nodes", (group.name for group in self.nodes))
        workloads = [group.name for group in (*self.services, *self.jobs)]
        _check_unique("services and jobs", workloads)
        for drift in self.drifts:
            _check_known("drifts: nodes", drift.nodes, known={g.name for g in self.nodes})
            _check_known("drifts: workloads", drift.workloads, known=set(workloads))

    @property
    def n_nodes(self) -> int:
        """How many nodes there are."""
        n_described = sum(group.count for group in self.nodes)
        return n_described + (0 if self.recording is None else len(self.recording.load().nodes))


def _check_start(text: str) -> None:
    try:
        at_s = parse_rfc3339(text)
    except ValueError as error:
        raise ValueError(f"start: {text!r} is no RFC 3339 time: {error}") from error
    if at_s < 0:
        raise ValueError(f"start: {text!r} lies before 1970")


def _check_extended(what: str, amounts: Iterable[str]) -> None:
    for name in amounts:
        domain, _, rest = name.partition("/")
        if not (domain and rest):
            raise ValueError(f"{what}: {name!r} has no domain, as example.com/gpu has")


def _check_numa(numa: Numa, *, group: NodeGroup) -> None:
    if group.cpu_milli % (1000 * numa.zones):
        raise ValueError(f"numa: {group.cpu} cores do not divide evenly into {numa.zones} zones")
    for name in numa.devices:
        if name not in group.extended_resources:
            raise ValueError(f"numa: devices: {name!r} is not among extended_resources")


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
        SettingsError: It, or a recording that it names, cannot be read, or a key or value is wrong;
            the message names file, line and key.
    """
    scenario = load_settings(Scenario, path=path, env={}, prefix="SCENARIO")
    scenario = msgspec.structs.replace(
        scenario,
        manifests=tuple(str(path.parent / each) for each in scenario.manifests),
        policies=tuple(
            str(path.parent / each) if Path(each).suffix else each for each in scenario.policies
        ),
    )
    if scenario.recording is None:
        return scenario
    recording = scenario.recording.beside(path.parent)
    if recording.from_s is None:  # whoever lets the scenario start at another time moves it all
        recording = msgspec.structs.replace(recording, from_s=parse_rfc3339(scenario.start))
    found = msgspec.structs.replace(scenario, recording=recording)
    problem = _problem_of(found, recording)
    if problem:
        raise SettingsError(f"{path}: {problem}")
    return found


def _problem_of(scenario: Scenario, recording: Recording) -> str:
    """Say why a recording cannot be run in its scenario, if so."""
    cluster = recording.load()
    # Nodes that are described are called so; see ``Site``.
    n_described = sum(group.count for group in scenario.nodes)
    taken = {f"n{number + 1}" for number in range(n_described)}
    twice = sorted(taken.intersection(node.name for node in cluster.nodes))
    if twice:
        return f"nodes: {twice[0]!r} was recorded, too; describe none"
    from_s = recording.from_s or 0.0
    until_s = from_s + float(scenario.warm_up) + float(scenario.measured)
    if recording.pods and not cluster.has_pods(from_s=from_s, until_s=until_s):
        return (
            f"recording: no pod is there from {from_s:.0f} to {until_s:.0f} s of its time, which "
            "start and from_s say"
        )
    return ""


def scenario_schema() -> dict[str, Any]:
    """Write down the format of scenario files as JSON Schema."""
    schema = msgspec.json.schema(Scenario, schema_hook=_schema_of)
    schema["$defs"]["Scenario"]["anyOf"] = [{"required": ["nodes"]}, {"required": ["recording"]}]
    return schema


def _schema_of(kind: type) -> dict[str, Any]:
    if issubclass(kind, Duration):
        pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
        return {
            "anyOf": [{"type": "string", "pattern": pattern}, {"type": "number", "minimum": 0}],
            "description": (kind.__doc__ or "").splitlines()[0],
        }
    raise NotImplementedError(f"no schema for {kind}")
