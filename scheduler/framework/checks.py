"""Does a plugin keep the contract of its extension points? Run these on every plugin you write.

Each check raises ``PluginError`` with the law that was broken. The clusters and pods are random but
the same every time.
"""

import random
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np

from kube.objects import (
    GceVolumeSource,
    KubeObject,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PreferredSchedulingTerm,
    Toleration,
    Volume,
)
from kube.qos import Qos
from kube.quantity import CPU, MEMORY
from kube.selectors import LabelQuery, labels_query
from scheduler.errors import PluginError
from scheduler.framework.columns import Rows
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    FilterPlugin,
    Plugin,
    PreFilterPlugin,
    PreScorePlugin,
    ScorePlugin,
)
from scheduler.framework.measures import Measure
from scheduler.framework.part import SnapshotPart
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import (
    MAX_NODE_SCORE,
    MIN_NODE_SCORE,
    BoolColumn,
    Code,
    ScoreColumn,
    Verdicts,
)
from scheduler.model import (
    PODS,
    AffinityTerm,
    ContainerFacts,
    CpuTerms,
    HostPort,
    NodeFacts,
    PodFacts,
    PodTerm,
    SpreadConstraint,
    Taint,
    Usage,
    UsageWindow,
    WeightedTerm,
)

T = TypeVar("T")

_N_CASES: Final = 40
_MAX_NODES: Final = 24
_GI: Final = 2**30
_MI: Final = 2**20
_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_ADDRESSES: Final = ("0.0.0.0", "10.0.0.1")  # noqa: S104 - values to compare, not to listen on
_TOPOLOGY_KEYS: Final = ("zone", "name", "cores", "disk")
_QUERIES: Final = (labels_query({"app": "a"}), labels_query({}), None)
_ALONE: Final = "what is said of a node depends on that node alone, if the pod is signed"
_UNREAD: Final = "pods change nothing, if they are not read"
_REFUSALS: Final = (Code.UNSCHEDULABLE, Code.UNSCHEDULABLE_AND_UNRESOLVABLE)


@dataclass(frozen=True, slots=True)
class _Case:
    nodes: tuple[NodeFacts, ...]
    placed: tuple[PodFacts, ...]
    pod: PodFacts
    going: tuple[PodFacts, ...] = ()
    """Some of ``placed``, of a few nodes, that a what-if takes away."""
    coming: tuple[PodFacts, ...] = ()
    """Pods that it adds, to a few nodes."""
    objects: tuple[KubeObject, ...] = ()
    """What else there is."""
    measures: tuple[Measure, ...] = ()
    """What the plugin wants to know of nodes."""

    def snapshot(self, *, is_reversed: bool = False) -> Snapshot:
        snapshot = Snapshot()
        for node in reversed(self.nodes) if is_reversed else self.nodes:
            snapshot.set_node(node)
        for pod in self.placed:
            snapshot.add_pod(pod, node=pod.node_name)
        for each in self.objects:
            snapshot.objects.put(each)
        usage, windows = _usage(self.nodes)
        snapshot.set_usage(usage, windows=windows)
        for measure in self.measures:
            snapshot.set_measured(measure, values={n: u.memory_bytes for n, u in usage.items()})
        return snapshot

    def changed_nodes(self) -> set[str]:
        return {pod.node_name for pod in (*self.going, *self.coming)}

    def change(self, snapshot: Snapshot, *, nodes: Container[str]) -> Snapshot:
        for pod in self.going:
            if pod.node_name in nodes:
                snapshot.remove_pod(pod, node=pod.node_name)
        for pod in self.coming:
            if pod.node_name in nodes:
                snapshot.add_pod(pod, node=pod.node_name)
        return snapshot


def check_filter_plugin(
    plugin: FilterPlugin, *, seed: int = 0, objects: Iterable[KubeObject] = ()
) -> None:
    """Hold a Filter plugin to its contract.

    Args:
        plugin: To be held to it.
        seed: Of the random clusters and pods.
        objects: What else there is in these clusters, whose nodes are called n0, n1 and so on.

    Raises:
        PluginError: Names the law that was broken.
    """
    for case in _cases(seed, objects=tuple(objects), measures=plugin.measures):
        snapshot = case.snapshot()
        first = _filter(plugin, case.pod, snapshot)
        if first is None:
            continue
        _check_verdicts(plugin, first, n_nodes=snapshot.n_nodes)
        again = _filter(plugin, case.pod, snapshot)
        _demand(
            plugin,
            again is not None and _same(first, again),
            "the same question has the same answer",
        )
        mirrored = _filter(plugin, case.pod, case.snapshot(is_reversed=True))
        _demand(
            plugin,
            mirrored is not None and np.array_equal(first.codes, mirrored.codes[::-1]),
            "a verdict follows the node, whatever its row",
        )
        _check_what_if(plugin, case, snapshot)
        if plugin.sign_pod(case.pod) is not None:
            _check_part(plugin, first, case=case, snapshot=snapshot)
        _demand(plugin, _is_untouched(case, snapshot), "the snapshot is left as it was")


def check_score_plugin(
    plugin: ScorePlugin, *, seed: int = 0, objects: Iterable[KubeObject] = ()
) -> None:
    """Hold a Score plugin to its contract.

    Args:
        plugin: To be held to it.
        seed: Of the random clusters and pods.
        objects: What else there is in these clusters, whose nodes are called n0, n1 and so on.

    Raises:
        PluginError: Names the law that was broken.
    """
    for case in _cases(seed, objects=tuple(objects), measures=plugin.measures):
        snapshot = case.snapshot()
        first = _score(plugin, case.pod, snapshot)
        if first is None:
            continue
        _demand(plugin, first.shape == (snapshot.n_nodes,), "there is one score for each node")
        _demand(plugin, first.dtype == np.int64, "scores are int64")
        _demand(
            plugin,
            bool(((first >= MIN_NODE_SCORE) & (first <= MAX_NODE_SCORE)).all()),
            f"normalized scores are from {MIN_NODE_SCORE} to {MAX_NODE_SCORE}",
        )
        again = _score(plugin, case.pod, snapshot)
        _demand(
            plugin,
            again is not None and np.array_equal(first, again),
            "the same question has the same answer",
        )
        mirrored = _score(plugin, case.pod, case.snapshot(is_reversed=True))
        _demand(
            plugin,
            mirrored is not None and np.array_equal(first, mirrored[::-1]),
            "a score follows the node, whatever its row",
        )
        if plugin.sign_pod(case.pod) is not None:
            _check_score_of_part(plugin, case=case, snapshot=snapshot)
        _demand(plugin, _is_untouched(case, snapshot), "the snapshot is left as it was")


def _demand(plugin: Plugin, is_kept: bool, law: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not is_kept:
        raise PluginError(f"{plugin.name}: {law}")


def _filter(
    plugin: FilterPlugin, pod: PodFacts, snapshot: Snapshot, *, what_if: Snapshot | None = None
) -> Verdicts | None:
    """Ask as a cycle does; ``None`` where PreFilter has settled it."""
    state = CycleState()
    if isinstance(plugin, PreFilterPlugin):
        result = plugin.pre_filter(state, pod=pod, snapshot=snapshot)
        if not result.status.is_success:
            return None
    asked = snapshot if what_if is None else what_if
    found = plugin.filter(state, pod=pod, snapshot=asked)
    return found or Verdicts(np.zeros(snapshot.n_nodes, dtype=np.uint8), ())


def _check_what_if(plugin: FilterPlugin, case: _Case, snapshot: Snapshot) -> None:
    """Change the pods of several nodes at once, and each node's alone for comparison."""
    what_if = case.change(snapshot.what_if(), nodes=snapshot.rows)
    found = _filter(plugin, case.pod, snapshot, what_if=what_if)
    unchanged = _filter(plugin, case.pod, snapshot)
    if found is None or unchanged is None:
        return
    _check_verdicts(plugin, found, n_nodes=snapshot.n_nodes)
    changed = case.changed_nodes()
    for name, row in snapshot.rows.items():
        alone: Verdicts | None = unchanged
        if name in changed:
            alone = _filter(plugin, case.pod, case.change(case.snapshot(), nodes=(name,)))
        _demand(
            plugin,
            alone is None or _at(found, row) == _at(alone, row),
            "a verdict on a row of a what-if takes only that row's changes into account",
        )


def _at(found: Verdicts, row: int) -> tuple[int, set[str]]:
    return int(found.codes[row]), {reason for reason, nodes in found.reasons if nodes[row]}


def _score(plugin: ScorePlugin, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn | None:
    raw = _raw_score(plugin, pod, snapshot)
    return None if raw is None else plugin.normalize(raw)


def _raw_score(plugin: ScorePlugin, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn | None:
    state = CycleState()
    if isinstance(plugin, PreScorePlugin):
        feasible = np.ones(snapshot.n_nodes, dtype=np.bool_)
        status = plugin.pre_score(state, pod=pod, snapshot=snapshot, feasible=feasible)
        if status.is_skip:
            return None
    return plugin.score(state, pod=pod, snapshot=snapshot)


def _check_verdicts(plugin: Plugin, found: Verdicts, *, n_nodes: int) -> None:
    _demand(plugin, found.codes.shape == (n_nodes,), "there is one code for each node")
    _demand(plugin, found.codes.dtype == np.uint8, "codes are uint8")
    refused = found.codes != Code.SUCCESS
    allowed = np.isin(found.codes, [Code.SUCCESS, *_REFUSALS])
    _demand(plugin, bool(allowed.all()), "a node is passed or refused, nothing else")
    explained = np.zeros(n_nodes, dtype=np.bool_)
    for reason, nodes in found.reasons:
        _demand(plugin, bool(reason), "a reason has words")
        _demand(plugin, nodes.shape == (n_nodes,), "a reason says of each node whether it holds")
        explained |= nodes
    _demand(plugin, bool((explained | ~refused).all()), "a refusal explains itself")
    _demand(plugin, bool((refused | ~explained).all()), "what has a reason is refused")


def _check_part(plugin: FilterPlugin, whole: Verdicts, *, case: _Case, snapshot: Snapshot) -> None:
    rows = np.arange(0, snapshot.n_nodes, 2)
    found = _filter(plugin, case.pod, SnapshotPart(snapshot, rows=rows))
    _demand(
        plugin,
        found is not None
        and np.array_equal(found.codes, whole.codes[rows])
        and _where(found) == _where(Verdicts(whole.codes[rows], _picked(whole, rows))),
        _ALONE,
    )
    if not plugin.reads_pods:
        empty = _filter(plugin, case.pod, replace(case, placed=()).snapshot())
        _demand(plugin, empty is not None and np.array_equal(empty.codes, whole.codes), _UNREAD)


def _picked(verdicts: Verdicts, rows: Rows) -> list[tuple[str, BoolColumn]]:
    return [(reason, nodes[rows]) for reason, nodes in verdicts.reasons]


def _where(verdicts: Verdicts) -> dict[str, list[bool]]:
    return {reason: nodes.tolist() for reason, nodes in verdicts.reasons if nodes.any()}


def _check_score_of_part(plugin: ScorePlugin, *, case: _Case, snapshot: Snapshot) -> None:
    rows = np.arange(0, snapshot.n_nodes, 2)
    whole = _raw_score(plugin, case.pod, snapshot)
    part = _raw_score(plugin, case.pod, SnapshotPart(snapshot, rows=rows))
    _demand(plugin, _same_scores(part, None if whole is None else whole[rows]), _ALONE)
    if not plugin.reads_pods:
        empty = _raw_score(plugin, case.pod, replace(case, placed=()).snapshot())
        _demand(plugin, _same_scores(empty, whole), _UNREAD)


def _same_scores(one: ScoreColumn | None, other: ScoreColumn | None) -> bool:
    return one is not None and other is not None and np.array_equal(one, other)


def _same(one: Verdicts, other: Verdicts) -> bool:
    return np.array_equal(one.codes, other.codes) and [r for r, _ in one.reasons] == [
        r for r, _ in other.reasons
    ]


def _is_untouched(case: _Case, snapshot: Snapshot) -> bool:
    fresh = case.snapshot()
    return all(snapshot.node(name) == fresh.node(name) for name in fresh.names)


# ---------------------------------------------------------------------- random clusters and pods


def _cases(
    seed: int, *, objects: tuple[KubeObject, ...], measures: tuple[Measure, ...]
) -> Iterator[_Case]:
    rng = random.Random(seed)
    yield _Case((), (), _pod(rng, "incoming"), objects=objects, measures=measures)
    for _ in range(_N_CASES):
        nodes = tuple(_node(rng, f"n{i}") for i in range(rng.randint(1, _MAX_NODES)))
        placed = tuple(
            _pod(rng, f"p{i}", node=rng.choice(nodes).name) for i in range(rng.randint(0, 40))
        )
        tried = [node.name for node in rng.sample(nodes, min(len(nodes), 3))]
        yield _Case(
            nodes,
            placed,
            _pod(rng, "incoming"),
            going=tuple(p for p in placed if p.node_name in tried and rng.random() < 0.5),
            coming=tuple(_pod(rng, f"q{i}", node=rng.choice(tried)) for i in range(3)),
            objects=objects,
            measures=measures,
        )


def _node(rng: random.Random, name: str) -> NodeFacts:
    taints = [Taint("dedicated", value, effect) for value in "ab" for effect in _EFFECTS]
    allocatable = {CPU: rng.randint(0, 8000), MEMORY: rng.randint(0, 16) * _GI, PODS: 20}
    return NodeFacts(
        name,
        allocatable=_without_some(rng, {**allocatable, "example.com/gpu": rng.randint(1, 4)}),
        capacity={CPU: allocatable[CPU], MEMORY: allocatable[MEMORY]},
        labels=_without_some(
            rng, {"zone": rng.choice("abc"), "cores": str(rng.randint(1, 64)), "name": name}
        )
        | _place_of(name),
        taints=tuple(rng.sample(taints, rng.choice((0, 0, 1, 2)))),
        is_unschedulable=rng.random() < 0.1,
    )


def _place_of(name: str) -> dict[str, str]:
    """Draw where a node is, the same for the same name."""
    rng = random.Random(f"place {name}")
    region = {"topology.kubernetes.io/region": rng.choice("xy")}
    return _without_some(rng, {**region, "topology.kubernetes.io/zone": rng.choice("abc")})


def _part_of(name: str) -> dict[str, str]:
    """Draw which part of an application a pod is, the same for the same name."""
    rng = random.Random(f"part {name}")
    labels = {"appgroup.diktyo.x-k8s.io": "app"}
    return {**labels, "appgroup.diktyo.x-k8s.io.workload": rng.choice("ab")}


def _usage(nodes: Sequence[NodeFacts]) -> tuple[dict[str, Usage], dict[str, UsageWindow]]:
    """Draw what most of the nodes use, the same for the same nodes, in any order."""
    usage: dict[str, Usage] = {}
    windows: dict[str, UsageWindow] = {}
    for node in nodes:
        rng = random.Random(f"{node.name} {len(nodes)}")
        if rng.random() < 0.1:
            continue
        used, mean, std = (Usage(rng.randint(0, 9000), rng.randint(0, 17) * _GI) for _ in range(3))
        usage[node.name] = used
        if rng.random() < 0.9:
            known = std if rng.random() < 0.7 else None
            windows[node.name] = UsageWindow(mean, known, 0.0, 900.0)
    return usage, windows


def _pod(rng: random.Random, name: str, *, node: str = "") -> PodFacts:
    amounts = {CPU: rng.randint(0, 4000), MEMORY: rng.randint(0, 8 * 1024) * _MI}
    requests = _without_some(rng, {**amounts, "example.com/gpu": 1})
    ports = [HostPort(ip, "TCP", port) for ip in _ADDRESSES for port in (80, 443)]
    return PodFacts(
        namespace=rng.choice(("default", "default", "other")),
        name=name,
        uid=name,
        node_name=node,
        requests=requests,
        scored_requests={CPU: 100, MEMORY: 200 * _MI, **requests},
        limits={CPU: 2 * amounts[CPU], MEMORY: amounts[MEMORY]},
        qos=Qos.GUARANTEED if amounts[CPU] % 2 else Qos.BURSTABLE,
        containers=(ContainerFacts(tuple((r, a) for r, a in requests.items() if a)),),
        cpu_terms=CpuTerms(2 * amounts[CPU] % 3000, amounts[CPU], amounts[CPU] % 3),
        host_ports=frozenset(rng.sample(ports, rng.choice((0, 0, 1, 2)))),
        tolerations=_some(rng, [Toleration(key="dedicated", operator="Exists"), Toleration()]),
        node_selector={"zone": "a"} if rng.random() < 0.2 else {},
        node_affinity=_affinity(rng) if rng.random() < 0.5 else None,
        labels=({"app": rng.choice("ab")} if rng.random() < 0.9 else {}) | _part_of(name),
        pod_affinity=_terms(rng),
        pod_anti_affinity=_terms(rng),
        preferred_terms=tuple(
            WeightedTerm(rng.choice((-100, -1, 1, 50)), term) for term in _terms(rng)
        ),
        spread=tuple(_spread(rng) for _ in range(rng.choice((0, 0, 1, 2)))),
        workload=f"default/Deployment/{rng.choice('abc')}",
        is_terminating=rng.random() < 0.1,
        volumes=tuple(_disk(rng) for _ in range(rng.choice((0, 0, 1)))),
    )


def _disk(rng: random.Random) -> Volume:
    source = GceVolumeSource(pd_name=rng.choice("ab"), read_only=rng.random() < 0.5)
    return Volume(name="disk", gce_persistent_disk=source)


def _terms(rng: random.Random) -> tuple[AffinityTerm, ...]:
    return tuple(
        AffinityTerm(
            rng.choice(_TOPOLOGY_KEYS),
            PodTerm(
                rng.choice(_QUERIES),
                frozenset((rng.choice(("default", "other")),)),
                rng.choice((None, None, LabelQuery())),
            ),
        )
        for _ in range(rng.choice((0, 0, 0, 0, 1, 2)))
    )


def _spread(rng: random.Random) -> SpreadConstraint:
    return SpreadConstraint(
        rng.choice(_TOPOLOGY_KEYS),
        max_skew=rng.randint(1, 3),
        is_hard=rng.random() < 0.5,
        query=rng.choice(_QUERIES),
        min_domains=rng.choice((1, 1, 3)),
        honors_node_affinity=rng.random() < 0.5,
        honors_node_taints=rng.random() < 0.5,
    )


def _affinity(rng: random.Random) -> NodeAffinity:
    requirements = [
        NodeSelectorRequirement(key="zone", operator="In", values=["a", "b"]),
        NodeSelectorRequirement(key="cores", operator="Gt", values=["8"]),
        NodeSelectorRequirement(key="zone", operator="NotIn", values=["c"]),
    ]
    terms = [NodeSelectorTerm(match_expressions=[each]) for each in requirements]
    return NodeAffinity(
        required_during_scheduling_ignored_during_execution=NodeSelector(
            node_selector_terms=[rng.choice(terms)]
        ),
        preferred_during_scheduling_ignored_during_execution=[
            PreferredSchedulingTerm(weight=rng.randint(1, 100), preference=rng.choice(terms))
        ],
    )


def _without_some(rng: random.Random, found: dict[str, T]) -> dict[str, T]:
    return {name: value for name, value in found.items() if rng.random() < 0.9}


def _some(rng: random.Random, items: Iterable[Toleration]) -> tuple[Toleration, ...]:
    return tuple(item for item in items if rng.random() < 0.3)
