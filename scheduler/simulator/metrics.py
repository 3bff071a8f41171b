"""What is measured of the cluster, as metrics-server publishes it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kube.instants import rfc3339
from scheduler.simulator.cadvisor import expose
from scheduler.simulator.resources import NODE_METRICS, NODES, POD_METRICS, PODS, Object
from scheduler.simulator.store import Change, Store
from scheduler.simulator.usage import quantity_of_bytes, quantity_of_milli
from scheduler.simulator.world import Sample, World


@dataclass(frozen=True, slots=True)
class _PodName:
    namespace: str
    name: str
    labels: dict[str, str]


class MetricsServer:
    """Scrapes the kubelets; publishes cpu averaged between two scrapes, and memory.

    So what it says is the past: up to a scrape old, plus the age of the kubelets' own measurement.
    A container appears once it has been seen in two scrapes.

    Args:
        world: What is measured.
        store: Where the names behind uids are.
        resolution_s: How often it scrapes, upstream's ``--metric-resolution``.
    """

    def __init__(self, world: World, *, store: Store, resolution_s: float) -> None:
        self._world = world
        self._store = store
        self._resolution_s = resolution_s
        self._names: dict[str, _PodName] = {}
        self._before: Sample | None = None
        self._last: Sample | None = None
        self._scrape_at_s = 0.0
        self._nodes: list[Object] | None = []
        self._pods: list[Object] | None = []
        store.on_change(self._observe, of=(PODS,))

    def node_metrics(self) -> Sequence[Object]:
        """``NodeMetrics`` of the nodes that were up."""
        if self._nodes is None and self._before is not None and self._last is not None:
            self._nodes = self._measure_nodes(self._before, self._last)
        return self._nodes or ()

    def pod_metrics(self) -> Sequence[Object]:
        """``PodMetrics`` of the pods that ran."""
        if self._pods is None and self._before is not None and self._last is not None:
            self._pods = self._measure_pods(self._before, self._last)
        return self._pods or ()

    def sync(self, now_s: float) -> None:
        """Scrape if it is time."""
        if now_s < self._scrape_at_s:
            return
        self._scrape_at_s = now_s + self._resolution_s
        sample = self._world.sample()
        if self._last is not None and sample.at_s <= self._last.at_s:
            return
        self._before, self._last = self._last, sample
        # Many scrapes are never read, so the objects are made when somebody asks.
        self._nodes = self._pods = None

    def exposition(self) -> Iterator[str]:
        """The last scrape in Prometheus' text format, bit by bit; see ``cadvisor``."""
        if self._last is None:
            return iter(())
        return expose(
            self._last,
            pod_of=self._pod,
            cfs_periods_per_s=self._world.physics.cpu.cfs_periods_per_s,
        )

    # --- details

    def _pod(self, uid: str) -> Object | None:
        pod = self._names.get(uid)
        return None if pod is None else self._store.find(PODS, pod.namespace, pod.name)

    def _observe(self, change: Change) -> None:
        meta = change.new["metadata"]
        if change.type == "DELETED":
            self._names.pop(meta["uid"], None)
        else:
            labels = meta.get("labels") or {}
            self._names[meta["uid"]] = _PodName(meta["namespace"], meta["name"], labels)

    def _measure_nodes(self, before: Sample, now: Sample) -> list[Object]:
        earlier = dict(zip(before.nodes, before.node_cpu_core_s, strict=True))
        window_s = now.at_s - before.at_s
        found = []
        for name, core_s, memory in zip(
            now.nodes, now.node_cpu_core_s, now.node_memory_bytes, strict=True
        ):
            node = self._store.find(NODES, None, name)
            if name not in earlier or node is None:
                continue
            labels = node["metadata"].get("labels") or {}
            usage = {
                "cpu": quantity_of_milli(1000.0 * (core_s - earlier[name]) / window_s),
                "memory": quantity_of_bytes(memory),
            }
            head = _head(
                NODE_METRICS.kind, {"name": name, "labels": labels}, now, window_s=window_s
            )
            found.append({**head, "usage": usage})
        return found

    def _measure_pods(self, before: Sample, now: Sample) -> list[Object]:
        earlier = dict(
            zip(
                before.containers,
                zip(before.container_started_at_s, before.container_cpu_core_s, strict=True),
                strict=True,
            )
        )
        window_s = now.at_s - before.at_s
        containers: dict[str, list[Object]] = {}
        for index, key in enumerate(now.containers):
            uid, name = key
            then = earlier.get(key)
            # A counter that began anew has no rate yet.
            if then is None or then[0] != now.container_started_at_s[index]:
                continue
            cpu_milli = 1000.0 * (now.container_cpu_core_s[index] - then[1]) / window_s
            usage = {
                "cpu": quantity_of_milli(cpu_milli),
                "memory": quantity_of_bytes(now.container_memory_bytes[index]),
            }
            containers.setdefault(uid, []).append({"name": name, "usage": usage})
        found = []
        for uid, measured in containers.items():
            pod = self._names.get(uid)
            if pod is not None:
                meta: Object = {"name": pod.name, "namespace": pod.namespace, "labels": pod.labels}
                head = _head(POD_METRICS.kind, meta, now, window_s=window_s)
                found.append({**head, "containers": measured})
        return found


def _head(kind: str, meta: Object, now: Sample, *, window_s: float) -> Object:
    at = rfc3339(now.at_s)
    labels = {"labels": meta["labels"]} if meta.get("labels") else {}
    named = {k: v for k, v in meta.items() if k != "labels"}
    return {
        "kind": kind,
        "apiVersion": NODE_METRICS.api_version,
        "metadata": {**named, "creationTimestamp": at, **labels},
        "timestamp": at,
        "window": f"{window_s:.3f}s",
    }
