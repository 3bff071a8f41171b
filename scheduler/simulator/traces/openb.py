"""The GPU trace *openb* (Alibaba cluster trace GPU v2023), and what was published about it.

A folder holds ``openb_node_list_gpu_node.csv`` and, for each variant *X* of the trace,
``openb_pod_list_X.csv``; there may be the orders in which published experiments let its pods
arrive, ``openb_order_X.csv``, and what came of them, ``fgd_paper_alloc_pct.csv`` and
``fgd_paper_frag_pct.csv``. Each may be compressed (``.csv.gz``). Variants are what the folder has.

Weng et al., "Beware of Fragmentation", USENIX ATC 2023, describe trace and experiments.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.simulator.traces.text_tables import (
    TextTable,
    TraceFileError,
    read_table,
    real,
    whole,
    word,
)

MAX_LOAD_PERCENT: Final = 130
"""Published curves end here."""

_NODES: Final = "openb_node_list_gpu_node"
_PODS: Final = "openb_pod_list_"
_ORDER: Final = "openb_order_"
_ALLOCATED: Final = "fgd_paper_alloc_pct"
_FRAGMENTED: Final = "fgd_paper_frag_pct"
_SUFFIXES: Final = (".csv", ".csv.gz")
_MIB: Final = 2**20
_MAX_CPU_MILLI: Final = 10_000_000
_MAX_MEMORY_MIB: Final = 2**30
_MAX_CARDS: Final = 32
_CARD_MILLI: Final = 1000
_MAX_TIME_S: Final = 10**11
_MAX_SEED: Final = 2**31


@dataclass(frozen=True, slots=True)
class OpenbNode:
    """A node of the cluster."""

    name: str
    cpu_milli: int
    memory_bytes: int
    n_cards: int
    model: str
    """Of its cards; empty if it has none."""


@dataclass(frozen=True, slots=True)
class OpenbPod:
    """A pod; what a variant does not tell (its last six columns) is empty or ``None``."""

    name: str
    cpu_milli: int
    memory_bytes: int
    n_cards: int
    card_milli: int
    """Of each card."""
    gpu_spec: str
    """Models of cards that will do, ``A|B``; if empty, any."""
    qos: str
    phase: str
    created_at_s: int | None
    """Since the trace began, as the other times."""
    deleted_at_s: int | None
    scheduled_at_s: int | None


@dataclass(frozen=True, slots=True, eq=False)
class ArrivalOrder:
    """In which order pods arrive, and which node is preferred among equals."""

    pods: NDArray[np.int64]
    """Rows of the list of pods, from 0; a row that comes again is another pod like it."""
    node_ranks: NDArray[np.int64]
    """By node, all different; the smallest wins."""


@dataclass(frozen=True, slots=True, eq=False)
class PublishedCurves:
    """What one published run came to, in per cent of the cluster's GPU.

    Both arrays have the shape ``(131,)``: by arrived load, 0 to 130 per cent of the GPU; ``nan``
    where nothing is published.
    """

    allocated: NDArray[np.float64]
    fragmented: NDArray[np.float64]


def variants(folder: Path) -> list[str]:
    """List the variants of the trace that a folder has: ``default`` first, the others by name.

    Raises:
        TraceFileError: It is no folder, or has none.
    """
    if not folder.is_dir():
        raise TraceFileError(f"{folder}: no such folder")
    found = {
        path.name.removeprefix(_PODS).removesuffix(suffix)
        for suffix in _SUFFIXES
        for path in folder.glob(f"{_PODS}*{suffix}")
    }
    if not found:
        raise TraceFileError(f"{folder}: has no {_PODS}*.csv")
    return sorted(found, key=lambda name: (name != "default", name))


def read_nodes(folder: Path) -> list[OpenbNode]:
    """Read the nodes with cards.

    Raises:
        TraceFileError: The file is missing or malformed.
    """
    table = read_table(
        _file(folder, stem=_NODES), needed=("sn", "cpu_milli", "memory_mib", "gpu", "model")
    )
    nodes = [
        OpenbNode(*row)
        for row in zip(
            table.parsed("sn", parse=word),
            table.parsed("cpu_milli", parse=whole(1, _MAX_CPU_MILLI)),
            table.parsed("memory_mib", parse=_mebibytes(1)),
            table.parsed("gpu", parse=whole(0, _MAX_CARDS)),
            table.texts("model"),
            strict=True,
        )
    ]
    _check_unique(table, column="sn")
    if not any(node.n_cards for node in nodes):
        raise TraceFileError(f"{table.path}: no node has a card")
    return nodes


def read_pods(folder: Path, *, variant: str) -> list[OpenbPod]:
    """Read the pods of a variant, in the file's order.

    Raises:
        TraceFileError: The file is missing or malformed.
    """
    table = read_table(
        _file(folder, stem=_PODS + variant),
        needed=("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"),
        optional=(
            "gpu_spec",
            "qos",
            "pod_phase",
            "creation_time",
            "deletion_time",
            "scheduled_time",
        ),
    )
    pods = [
        OpenbPod(*row)
        for row in zip(
            table.parsed("name", parse=word),
            table.parsed("cpu_milli", parse=whole(0, _MAX_CPU_MILLI)),
            table.parsed("memory_mib", parse=_mebibytes(0)),
            table.parsed("num_gpu", parse=whole(0, _MAX_CARDS)),
            table.parsed("gpu_milli", parse=whole(0, _CARD_MILLI)),
            table.texts("gpu_spec"),
            table.texts("qos"),
            table.texts("pod_phase"),
            table.parsed("creation_time", parse=_instant),
            table.parsed("deletion_time", parse=_instant),
            table.parsed("scheduled_time", parse=_instant),
            strict=True,
        )
    ]
    _check_unique(table, column="name")
    for row, pod in enumerate(pods):
        if (pod.n_cards == 0) != (pod.card_milli == 0):
            problem = f"{pod.card_milli} milli of each of {pod.n_cards} cards make no sense"
            raise table.wrong("gpu_milli", row=row, problem=problem)
        if pod.n_cards > 1 and pod.card_milli != _CARD_MILLI:
            problem = f"several cards are asked for whole, {_CARD_MILLI}, not {pod.card_milli}"
            raise table.wrong("gpu_milli", row=row, problem=problem)
    if not any(pod.n_cards for pod in pods):
        raise TraceFileError(f"{table.path}: no pod asks for a card")
    return pods


def read_orders(
    folder: Path, *, variant: str, n_pods: int, n_nodes: int
) -> dict[int, ArrivalOrder]:
    """Read the recorded orders of a variant, by seed; none if there is no such file.

    Args:
        folder: Where the trace lies.
        variant: Of the trace.
        n_pods: How many pods the variant has.
        n_nodes: How many nodes the cluster has.

    Raises:
        TraceFileError: The file is malformed, or tells of other pods or nodes.
    """
    path = _found(folder, stem=_ORDER + variant)
    if path is None:
        return {}
    table = read_table(path, needed=("seed", "kind", "values"))
    seeds = table.parsed("seed", parse=whole(0, _MAX_SEED))
    kinds = table.parsed("kind", parse=_order_kind)
    read: dict[tuple[int, str], NDArray[np.int64]] = {}
    for row, (seed, kind, text) in enumerate(zip(seeds, kinds, table.texts("values"), strict=True)):
        if (seed, kind) in read:
            raise table.wrong("kind", row=row, problem=f"a second {kind} of seed {seed}")
        try:
            values = _wholes(text, most=n_pods - 1 if kind == "pods" else _MAX_SEED)
        except ValueError as error:
            raise table.wrong("values", row=row, problem=str(error)) from error
        if kind == "node_rank" and (len(values) != n_nodes or len(np.unique(values)) != n_nodes):
            problem = f"must be {n_nodes} different ranks, one a node"
            raise table.wrong("values", row=row, problem=problem)
        read[seed, kind] = values
    orders: dict[int, ArrivalOrder] = {}
    for seed in sorted(set(seeds)):
        if (seed, "pods") not in read or (seed, "node_rank") not in read:
            raise TraceFileError(f"{path}: seed {seed} needs a row of pods and one of node_rank")
        orders[seed] = ArrivalOrder(read[seed, "pods"], read[seed, "node_rank"])
    return orders


def read_published(folder: Path, *, variant: str) -> dict[tuple[str, int], PublishedCurves]:
    """Read what was published about a variant, by the policy's published name and seed.

    Returns:
        Nothing if the folder has no published curves, or none of this variant.

    Raises:
        TraceFileError: A file is malformed, or one of the two is missing.
    """
    if _found(folder, stem=_ALLOCATED) is None and _found(folder, stem=_FRAGMENTED) is None:
        return {}
    allocated = _curves(_file(folder, stem=_ALLOCATED), variant=variant)
    fragmented = _curves(_file(folder, stem=_FRAGMENTED), variant=variant)
    return {
        key: PublishedCurves(allocated[key], fragmented[key])
        for key in allocated
        if key in fragmented
    }


def _curves(path: Path, *, variant: str) -> dict[tuple[str, int], NDArray[np.float64]]:
    loads = [str(load) for load in range(MAX_LOAD_PERCENT + 1)]
    table = read_table(path, needed=("trace", "policy", "seed", *loads))
    rows = np.flatnonzero(table.columns["trace"] == variant)
    policies = table.parsed("policy", parse=word)
    seeds = table.parsed("seed", parse=whole(0, _MAX_SEED))
    values = np.array([table.parsed(load, parse=_percent) for load in loads], dtype=np.float64)
    return {(policies[row], seeds[row]): values[:, row] for row in rows.tolist()}


def _found(folder: Path, *, stem: str) -> Path | None:
    paths = (folder / (stem + suffix) for suffix in _SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _file(folder: Path, *, stem: str) -> Path:
    path = _found(folder, stem=stem)
    if path is None:
        raise TraceFileError(f"{folder}: has neither {stem}.csv nor {stem}.csv.gz")
    return path


def _check_unique(table: TextTable, *, column: str) -> None:
    seen: set[str] = set()
    for row, text in enumerate(table.texts(column)):
        if text in seen:
            raise table.wrong(column, row=row, problem=f"a second {text}")
        seen.add(text)


def _mebibytes(least: int) -> Callable[[str], int]:
    parse = whole(least, _MAX_MEMORY_MIB)
    return lambda text: parse(text) * _MIB


def _instant(text: str) -> int | None:
    return whole(0, _MAX_TIME_S)(text) if text else None


def _percent(text: str) -> float:
    return real(-1.0, 1000.0)(text) if text else float("nan")


def _order_kind(text: str) -> str:
    kinds = ("pods", "node_rank")
    if text not in kinds:
        raise ValueError(f"must be one of {', '.join(kinds)}, not {text!r}")
    return text


def _wholes(text: str, *, most: int) -> NDArray[np.int64]:
    parse = whole(0, most)
    return np.array([parse(part) for part in text.split()], dtype=np.int64)
