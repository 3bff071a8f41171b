"""What became of pods and nodes, by the world's own account, which no scheduler sees."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from scheduler.simulator import changes as ch
from scheduler.simulator.cluster import Cluster
from scheduler.simulator.controllers.pods import is_over
from scheduler.simulator.experiments.results import ModelQuality, RunResult
from scheduler.simulator.experiments.timelines import TimelineKeeper
from scheduler.simulator.resources import PODS, Object
from scheduler.simulator.store import Change

_LOOK_S: Final = 60.0
_CAUSES: Final = {"limit": "oom_killed", "node_memory": "oom_killed", "node_failed": "node_lost"}
LACKING_RATIO: Final = 0.05
"""A pod that lacks this much of the cpu that it wants is throttled."""
MAX_STARVED_SHARE: Final = 0.25
"""Throttled in more of the window's looks than this: starved."""


@dataclass(slots=True)
class _Placement:
    """A pod on a node, until it is known how it went."""

    unready: set[str]
    """Containers that have not been ready yet."""
    due_s: float
    """When it is past: the window after it got ready; before that, the window after placement."""
    is_ready: bool = False
    lacking: list[float] = field(default_factory=list)

    @property
    def starved_share(self) -> float:
        """In what share of the looks since it got ready it was throttled."""
        return float(np.mean(np.array(self.lacking) > LACKING_RATIO)) if self.lacking else 0.0

    @property
    def mean_lacking(self) -> list[float]:
        """What share of the cpu that it wanted it lacked, if anybody looked."""
        return [float(np.mean(self.lacking))] if self.lacking else []


class Tally:
    """Counts over the measured time.

    Args:
        cluster: Whose world it asks.
        window_s: For how long a placement must stay healthy, in seconds.
        now_s: When measuring begins, Unix seconds.
        pods: Those that are there already; of them only where they are counts.
    """

    def __init__(
        self, cluster: Cluster, *, window_s: float, now_s: float, pods: Iterable[Object]
    ) -> None:
        self._cluster = cluster
        self._window_s = window_s
        self._began_s = now_s
        self.next_look_s = now_s
        """When it next looks at nodes and usage."""
        self._open: dict[str, _Placement] = {}
        self._created_at_s: dict[str, float] = {}
        self._namespaces: dict[str, str] = {}
        self._node_of: dict[str, str] = {}
        self._pending_s: list[float] = []
        self._pending_in_s: defaultdict[str, list[float]] = defaultdict(list)
        self._n_placements = self._n_oom_kills = self._n_evictions = 0
        self._failed: Counter[str] = Counter()
        self._cpu_spreads: list[float] = []
        self._memory_spreads: list[float] = []
        self._idle: list[int] = []
        self._lacking_ratios: list[float] = []
        self._timelines = TimelineKeeper(cluster.node_specs, look_s=_LOOK_S)
        self._lacking_from_core_s = cluster.world.lacking_core_s
        cluster.on_world_change(self._witness)
        for pod in pods:
            self._note_node(pod)

    def see(self, change: Change, *, now_s: float) -> None:
        """Take in what was written about pods."""
        if change.resource is not PODS:
            return
        meta = change.new["metadata"]
        uid = meta["uid"]
        if change.type == "DELETED":
            for known in (self._created_at_s, self._namespaces, self._node_of, self._open):
                known.pop(uid, None)
            self._timelines.lose(uid)
            return
        self._note_node(change.new)
        node = change.new["spec"].get("nodeName")
        had_node = change.old is not None and change.old["spec"].get("nodeName")
        if change.old is None and not node:
            self._created_at_s[uid] = now_s
            self._namespaces[uid] = meta["namespace"]
        if node and not had_node:
            self._place(uid, change, now_s=now_s)
        if change.new["status"].get("phase") == "Failed":
            # What went wrong in the world was witnessed there; this its kubelet never let in.
            self._fail(uid, cause="rejected", at_s=now_s)
        if "deletionTimestamp" in meta:
            self._open.pop(uid, None)  # asked to go too early to tell

    def look(self, now_s: float) -> None:
        """Look at nodes and usage, and settle the placements whose window is over."""
        self.next_look_s = now_s + _LOOK_S
        sample = self._cluster.world.sample()
        for (uid, _), lacking in zip(
            sample.containers, sample.container_lacking_ratio.tolist(), strict=True
        ):
            placement = self._open.get(uid)
            if placement is not None and placement.is_ready:
                placement.lacking.append(lacking)
        for uid in [uid for uid, each in self._open.items() if each.due_s <= now_s]:
            placement = self._open.pop(uid)
            self._lacking_ratios += placement.mean_lacking
            if not placement.is_ready:
                self._failed["start_failed"] += 1
            elif placement.starved_share > MAX_STARVED_SHARE:
                self._failed["starved"] += 1
        specs = self._cluster.node_specs
        if sample.nodes:
            cpu = np.array([specs[name].cpu_milli for name in sample.nodes])
            memory = np.array([specs[name].memory_bytes for name in sample.nodes])
            self._cpu_spreads.append(float(np.std(sample.node_cpu_milli / cpu)))
            self._memory_spreads.append(float(np.std(sample.node_memory_bytes / memory)))
        n_troubles = self._failed.total() + self._n_oom_kills + self._n_evictions
        used_milli = np.asarray(sample.node_cpu_milli, dtype=np.float64)
        self._timelines.look(sample.nodes, used_milli=used_milli, n_troubles=n_troubles)
        used = set(self._node_of.values())
        self._idle.append(sum(name not in used for name in specs))

    def result(
        self,
        *,
        policy: str,
        seed: int,
        now_s: float,
        model: ModelQuality | None,
        trainings: dict[str, int],
        cpu_s: float,
    ) -> RunResult:
        """Sum up."""
        never = [now_s - at_s for at_s in self._created_at_s.values()]
        pending = np.array([*self._pending_s, *never]) if self._pending_s or never else np.zeros(1)
        world = self._cluster.world
        return RunResult(
            policy=policy,
            seed=seed,
            measured_h=(now_s - self._began_s) / 3600.0,
            n_placements=self._n_placements,
            n_failed_placements=self._failed.total(),
            failed_by_cause=dict(sorted(self._failed.items())),
            n_oom_kills=self._n_oom_kills,
            n_evictions=self._n_evictions,
            throttled_core_h=(world.lacking_core_s - self._lacking_from_core_s) / 3600.0,
            pending_p50_s=float(np.quantile(pending, 0.5)),
            pending_p99_s=float(np.quantile(pending, 0.99)),
            pending_p99_s_by_namespace=self._pending_by_namespace(now_s),
            n_never_bound=len(never),
            cpu_spread_ratio=float(np.mean(self._cpu_spreads)),
            memory_spread_ratio=float(np.mean(self._memory_spreads)),
            n_nodes=len(self._cluster.node_specs),
            idle_nodes=float(np.mean(self._idle)),
            model=model,
            trainings=trainings,
            timelines=self._timelines.result(
                pending_s=[*self._pending_s, *never], lacking_ratios=self._lacking_ratios
            ),
            cpu_s=cpu_s,
        )

    # --- details

    def _pending_by_namespace(self, now_s: float) -> dict[str, float]:
        waits = {name: list(waited) for name, waited in self._pending_in_s.items()}
        for uid, at_s in self._created_at_s.items():
            waits.setdefault(self._namespaces[uid], []).append(now_s - at_s)
        return {name: float(np.quantile(waits[name], 0.99)) for name in sorted(waits)}

    def _note_node(self, pod: Object) -> None:
        self._timelines.see(pod)
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        if node and not is_over(pod):
            self._node_of[uid] = node
        else:
            self._node_of.pop(uid, None)

    def _place(self, uid: str, change: Change, *, now_s: float) -> None:
        spec = change.new["spec"]
        created_at_s = self._created_at_s.pop(uid, None)
        if created_at_s is None:
            return  # not created in the measured time
        self._pending_s.append(now_s - created_at_s)
        self._pending_in_s[self._namespaces.pop(uid)].append(now_s - created_at_s)
        self._n_placements += 1
        self._open[uid] = _Placement(
            unready={container["name"] for container in spec["containers"]},
            due_s=now_s + self._window_s,
        )

    def _witness(self, change: ch.Change) -> None:
        match change:
            case ch.ContainerReady():
                self._note_ready(change)
            case ch.ContainerExited(pod=uid, exit_code=code, cause=cause, at_s=at_s):
                self._n_oom_kills += cause in ("limit", "node_memory")
                if code:
                    self._fail(uid, cause=_CAUSES.get(cause, "crashed"), at_s=at_s)
            case ch.PodEvicted(pod=uid, at_s=at_s):
                self._n_evictions += 1
                self._fail(uid, cause="evicted", at_s=at_s)
            case ch.PodFinished(pod=uid, has_succeeded=True):
                self._open.pop(uid, None)
            case ch.NodeFailed(node=node, at_s=at_s):
                for uid in [u for u, name in self._node_of.items() if name == node]:
                    self._fail(uid, cause="node_lost", at_s=at_s)
            case _:
                pass

    def _note_ready(self, change: ch.ContainerReady) -> None:
        placement = self._open.get(change.pod)
        if placement is None or placement.is_ready:
            return
        placement.unready.discard(change.container)
        placement.is_ready = not placement.unready
        if placement.is_ready:
            placement.due_s = change.at_s + self._window_s

    def _fail(self, uid: str, *, cause: str, at_s: float) -> None:
        placement = self._open.get(uid)
        if placement is not None and at_s <= placement.due_s:
            del self._open[uid]
            self._lacking_ratios += placement.mean_lacking
            self._failed[cause] += 1
