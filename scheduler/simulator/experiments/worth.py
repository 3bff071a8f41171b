"""What a run on a site costs by the scenario's reward, whichever scheduler places the pods."""

from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from kube.decoding import decode_object
from kube.objects import Node, Pod
from kube.quantity import CPU, MEMORY
from scheduler.model import PODS as PODS_RESOURCE
from scheduler.model import NodeFacts, PodFacts
from scheduler.simulator.experiments.news import News
from scheduler.simulator.experiments.rewards import Meter, Occupancy
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.resources import NODES, PODS, Object

_RESOURCES: Final = (CPU, MEMORY, PODS_RESOURCE)
_EVICTED: Final = "Evicted"


class Worth:
    """Follows a site's objects and world, and adds up the terms of its reward.

    Args:
        site: The cluster, at the time from which on it counts.
        until_s: When it ends, Unix seconds.
    """

    def __init__(self, site: Site, *, until_s: float) -> None:
        self._site = site
        names = list(site.cluster.node_specs)
        self._rows = {name: row for row, name in enumerate(names)}
        self._capacity_milli = np.array(
            [spec.cpu_milli for spec in site.cluster.node_specs.values()], dtype=np.float64
        )
        self._allocatable = _allocatable(site.store.list(NODES), rows=self._rows)
        self._requested = np.zeros_like(self._allocatable)
        self._pods: dict[str, tuple[int | None, NDArray[np.float64]]] = {}
        """By uid: the row of its node, and what it takes there."""
        self._n_pending = 0
        self._meter = Meter(
            site.scenario.reward,
            mix=site.users.pod_mix(for_s=until_s - site.now_s),
            now_s=site.now_s,
            lacking_core_s=site.cluster.world.lacking_core_s,
        )
        site.cluster.on_world_change(self._meter.witness)
        for pod in site.store.list(PODS):
            self._put(decode_object(msgspec.json.encode(pod), Pod))
        self.look()

    def see(self, news: News) -> None:
        """Take in what was written about pods."""
        if not isinstance(news.found, Pod):
            return
        if news.is_gone:
            self._drop(news.found.metadata.uid)
        else:
            self._put(news.found)

    def look(self) -> None:
        """Take in how the site stands, after time has passed or something was done."""
        world = self._site.cluster.world
        self._meter.pass_until(self._site.now_s, lacking_core_s=world.lacking_core_s)
        allocatable, requested = self._allocatable, self._requested
        nodes = Occupancy(
            cpu_allocatable_milli=allocatable[0],
            memory_allocatable_bytes=allocatable[1],
            pods_allocatable=allocatable[2],
            cpu_requested_milli=requested[0],
            memory_requested_bytes=requested[1],
            n_pods=requested[2],
            cpu_usage_ratio=world.sample_nodes().cpu_milli / self._capacity_milli,
        )
        self._meter.look(nodes, n_pending=self._n_pending)

    def terms(self) -> dict[str, float]:
        """Hand over the terms so far, each in its unit, not weighed."""
        return self._meter.take()

    # --- details

    def _put(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        if pod.status.phase in ("Succeeded", "Failed"):
            # A crash has no reason of the pod's, and evictions are witnessed in the world.
            if uid in self._pods and pod.status.reason not in (None, _EVICTED):
                self._meter.turn_away()
            self._drop(uid)
            return
        row = self._rows.get(pod.spec.node_name or "")
        known = self._pods.get(uid)
        if known is None:
            self._pods[uid] = (None, _taken(pod))
            self._n_pending += 1
            known = self._pods[uid]
        if known[0] is None and row is not None:
            self._pods[uid] = (row, known[1])
            self._n_pending -= 1
            self._requested[:, row] += known[1]

    def _drop(self, uid: str) -> None:
        row, taken = self._pods.pop(uid, (None, None))
        if taken is None:
            return
        if row is None:
            self._n_pending -= 1
        else:
            self._requested[:, row] -= taken


def _allocatable(nodes: Iterable[Object], *, rows: dict[str, int]) -> NDArray[np.float64]:
    """Read what each node has to give; shape ``(3, n_nodes)``: cpu, memory, pods."""
    columns = np.zeros((len(_RESOURCES), len(rows)))
    for node in nodes:
        row = rows.get(node["metadata"]["name"])
        if row is not None:
            facts = NodeFacts.from_node(decode_object(msgspec.json.encode(node), Node))
            columns[:, row] = [facts.allocatable.get(resource, 0) for resource in _RESOURCES]
    return columns


def _taken(pod: Pod) -> NDArray[np.float64]:
    facts = PodFacts.from_pod(pod)
    cpu, memory = (facts.requests.get(resource, 0) for resource in (CPU, MEMORY))
    return np.array([cpu, memory, 1], dtype=np.float64)
