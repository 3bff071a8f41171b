"""Whether a kubelet takes a pod that was bound to its node."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from kube.objects import Pod
from kube.quantity import parse_amounts
from scheduler.model import GPU_COUNT, GPU_MILLI, PodFacts
from scheduler.simulator.hardware import NodeSpec
from scheduler.simulator.kubelet.cards import hand_out
from scheduler.simulator.kubelet.record import PodRecord
from scheduler.simulator.kubelet.topology import Refusal, allot
from scheduler.simulator.kubelet.zones import Zones
from scheduler.simulator.resources import NODES, Object
from scheduler.simulator.store import Store

_OUT_OF: Final = {"cpu": "OutOfcpu", "memory": "OutOfmemory", "pods": "OutOfpods"}


class Admission:
    """What kubelets look at before they take a pod.

    A kubelet asks its managers of resources first, and then what is left in sum. Here it is the
    other way round, which shows where both would refuse.

    Args:
        store: Where node objects say what else a node has.
        nodes: The nodes that have a kubelet, by name; the caller keeps it current.
    """

    def __init__(self, store: Store, *, nodes: Mapping[str, NodeSpec]) -> None:
        self._store = store
        self._nodes = nodes

    def admit(
        self, pod: Object, *, record: PodRecord, others: Sequence[PodRecord]
    ) -> Refusal | None:
        """Give a pod what it is to have for its own, or say why it is not taken.

        Args:
            pod: Which pod.
            record: What its kubelet knows of it, where what it gets is noted.
            others: Those on the node that are not over.
        """
        return (
            self._shortage(record, others=others)
            or self._hand_out_cards(pod, record=record, others=others)
            or self._align(pod, record=record, others=others)
        )

    def _shortage(self, record: PodRecord, *, others: Sequence[PodRecord]) -> Refusal | None:
        """Find the first resource of which the node has too little left for the pod."""
        spec = self._nodes[record.node]
        capacity = {
            **advertised(record.node, store=self._store),
            "cpu": spec.allocatable_cpu_milli,
            "memory": spec.allocatable_memory_bytes,
            "pods": spec.max_pods,
        }
        for resource, asked in {**record.requests, "pods": 1}.items():
            used = len(others) if resource == "pods" else _sum(others, resource)
            limit = capacity.get(resource, 0)
            if asked and used + asked > limit:
                return Refusal(
                    _OUT_OF.get(resource, f"OutOf{resource}"),
                    f"Node didn't have enough resource: {resource}, requested: {asked}, "
                    f"used: {used}, capacity: {limit}",
                )
        return None

    def _hand_out_cards(
        self, pod: Object, *, record: PodRecord, others: Sequence[PodRecord]
    ) -> Refusal | None:
        """Give a pod the shares of cards that its annotations ask for, or say why not."""
        annotations = pod["metadata"].get("annotations") or {}
        if GPU_MILLI not in annotations and GPU_COUNT not in annotations:
            return None
        cards = hand_out(
            _facts(pod),
            n_cards=advertised(record.node, store=self._store).get(GPU_COUNT, 0),
            held=[other.cards for other in others],
        )
        if cards is None:
            return Refusal(
                "UnexpectedAdmissionError", "Allocate failed due to no cards that suffice"
            )
        record.cards = cards
        return None

    def _align(
        self, pod: Object, *, record: PodRecord, others: Sequence[PodRecord]
    ) -> Refusal | None:
        """Give a pod its own of the node's NUMA zones, or say why not."""
        spec = self._nodes[record.node]
        if spec.numa is None:
            return None
        devices = advertised(record.node, store=self._store)
        found = allot(
            _facts(pod),
            numa=spec.numa,
            zones=Zones.of(spec, numa=spec.numa, devices=devices),
            held=[other.zones for other in others if other.zones is not None],
        )
        if isinstance(found, Refusal):
            return found
        record.zones = found
        return None


def advertised(node: str, *, store: Store) -> Mapping[str, int]:
    """Tell what others say on a node object that the node has."""
    found = store.find(NODES, None, node)
    allocatable = {} if found is None else found["status"]["allocatable"]
    return parse_amounts({name: a for name, a in allocatable.items() if "/" in name})


def _facts(pod: Object) -> PodFacts:
    return PodFacts.from_pod(msgspec.convert(pod, type=Pod))


def _sum(records: Sequence[PodRecord], resource: str) -> int:
    return sum(record.requests.get(resource, 0) for record in records)
