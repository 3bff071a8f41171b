"""Recorded scenarios: a cluster, a pod that comes to it, and what kube-scheduler made of it."""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from kube.objects import KubeObject, Namespace, Node, Pod, PodDisruptionBudget, Service
from kube.quantity import QuantityError, parse_amounts
from kube.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from scheduler.cache import ClusterCache
from scheduler.framework.nominations import Nominations
from scheduler.framework.snapshot import Snapshot
from scheduler.model import NodeFacts, PodFacts

T = TypeVar("T")
R = TypeVar("R")


class ConformanceError(Exception):
    """The file is no recording; the message names line and field. Exit code 2."""


class ExpectedStatus(msgspec.Struct, frozen=True):
    """kube-scheduler's verdict on a node."""

    code: Literal["Success", "Unschedulable", "UnschedulableAndUnresolvable"]
    plugin: str = ""
    reasons: frozenset[str] = frozenset()


class Expected(msgspec.Struct, frozen=True):
    """What kube-scheduler made of a scenario."""

    statuses: Mapping[str, ExpectedStatus]
    """By node."""
    message: str = ""
    """Of the event, where no node was feasible; without what preemption said."""
    nominated: str = ""
    victims: tuple[str, ...] = ()
    """``namespace/name``."""
    scores: Mapping[str, Mapping[str, int]] = {}
    """By feasible node: each plugin's weighted score, and ``total``."""


class Scenario(msgspec.Struct, frozen=True, rename="camel"):
    """A cluster, a pod that comes to it, and what kube-scheduler made of it."""

    id: str
    family: str
    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    pod: Pod
    expected: Expected
    pdbs: tuple[PodDisruptionBudget, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    pvcs: tuple[PersistentVolumeClaim, ...] = ()
    pvs: tuple[PersistentVolume, ...] = ()
    storage_classes: tuple[StorageClass, ...] = ()
    services: tuple[Service, ...] = ()

    def __post_init__(self) -> None:
        """Check what the structs cannot.

        Raises:
            ValueError: A node lacks a name of its own, or a pod a uid of its own.
        """
        _check_unique([node.metadata.name for node in self.nodes], field="nodes[{}].metadata.name")
        uids = [pod.metadata.uid for pod in (*self.pods, self.pod)]
        _check_unique(uids, field="pods[{}].metadata.uid")

    def objects(self) -> Iterator[KubeObject]:
        """Go through everything but nodes and pods."""
        groups: tuple[Iterable[KubeObject], ...] = (
            self.pdbs,
            self.namespaces,
            self.pvcs,
            self.pvs,
            self.storage_classes,
            self.services,
        )
        for group in groups:
            yield from group


def _check_unique(values: Sequence[str], *, field: str) -> None:
    seen: set[str] = set()
    for number, value in enumerate(values):
        if not value or value in seen:
            raise ValueError(f"{field.format(number)} is {'given twice' if value else 'missing'}")
        seen.add(value)


@dataclass(frozen=True, slots=True)
class World:
    """A scenario's cluster and pod, as the framework sees them."""

    snapshot: Snapshot
    nominations: Nominations
    pod: PodFacts

    @classmethod
    def of(cls, scenario: Scenario) -> "World":
        """Build the cluster of a scenario.

        Raises:
            ConformanceError: An amount is no quantity; names the field.
        """
        cache, nominations = ClusterCache(), Nominations()
        for each in scenario.objects():
            cache.snapshot.objects.put(each)
        for node in _parsed(scenario.nodes, NodeFacts.from_node, field="nodes"):
            cache.set_node(node)
        pods = _parsed(scenario.pods, PodFacts.from_pod, field="pods")
        for pod in pods:
            if pod.is_finished:
                continue
            if pod.node_name:
                cache.add_pod(pod)
            elif pod.nominated_node_name:
                nominations.put(pod, node=pod.nominated_node_name)
        # Plugins read these when they need them, and may take them for what the API server admits.
        _parsed(scenario.pvs, _capacity, field="pvs")
        _parsed(scenario.pvcs, _requested, field="pvcs")
        [incoming] = _parsed((scenario.pod,), PodFacts.from_pod, field="pod")
        return cls(cache.snapshot, nominations, incoming)


def _parsed(items: Iterable[T], parse: Callable[[T], R], *, field: str) -> list[R]:
    parsed: list[R] = []
    for number, item in enumerate(items):
        try:
            parsed.append(parse(item))
        except QuantityError as error:
            raise ConformanceError(f"{field}[{number}]: {error}") from error
    return parsed


def _capacity(volume: PersistentVolume) -> Mapping[str, int]:
    return parse_amounts(volume.spec.capacity or {})


def _requested(claim: PersistentVolumeClaim) -> Mapping[str, int]:
    return parse_amounts(claim.spec.resources.requests or {})


@dataclass(frozen=True, slots=True)
class Recording:
    """A scenario, ready to be run."""

    id: str
    family: str
    world: World
    expected: Expected


def read_recordings(path: Path) -> Iterator[Recording]:
    """Read a file of scenarios, compressed if its name ends in ``.gz``.

    Raises:
        ConformanceError: There is no such file, or a line of it is no scenario.
    """
    decoder = msgspec.json.Decoder(Scenario)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                yield _read(line, decoder, place=f"{path}:{number}")
    except (OSError, EOFError, zlib.error) as error:
        raise ConformanceError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _read(line: bytes, decoder: msgspec.json.Decoder[Scenario], *, place: str) -> Recording:
    try:
        scenario = decoder.decode(line)
        return Recording(scenario.id, scenario.family, World.of(scenario), scenario.expected)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ConformanceError) as error:
        raise ConformanceError(f"{place}: no scenario: {error}") from error
