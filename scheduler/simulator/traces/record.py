"""``python -m scheduler.simulator record``: a living cluster into files that can be run again."""

import argparse
import math
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from kube.client import Client
from kube.config import load_cluster
from kube.edge.settings import SettingsError
from kube.errors import ConfigError, KubeError
from kube.instants import rfc3339
from scheduler.simulator.traces.live import LiveCluster, read_cluster
from scheduler.simulator.traces.masking import Mask
from scheduler.simulator.traces.past import Past, PastError
from scheduler.simulator.traces.recorder import (
    Recorded,
    UsageRow,
    put_together,
    usage_rows,
    workload_requests,
)
from scheduler.simulator.traces.rows import NodeRow, PodRow
from scheduler.simulator.traces.tables import write_rows

FAILED: Final = 1
_SLOT_S: Final = 300
_SALT_BYTES: Final = 16


class NothingToRecordError(Exception):
    """The cluster is empty, so that there is nothing to run again."""


def record(options: argparse.Namespace) -> int:
    """Read cluster and collector, and write the files; return the exit code.

    Raises:
        SettingsError: The kubeconfig or the folder cannot be used.
    """
    try:
        with _writing(options.out) as folder:
            recorded, scenario, notes = _read(options)
            _write(folder, recorded=recorded, scenario=scenario)
    except ConfigError as error:
        raise SettingsError(str(error)) from error
    except (KubeError, PastError, NothingToRecordError) as error:
        sys.stderr.write(f"scheduler.simulator: nothing recorded: {error}\n")
        return FAILED
    for note in notes:
        sys.stdout.write(f"note: {note}\n")
    sys.stdout.write(
        f"recorded {len(recorded.nodes)} nodes and {len(recorded.pods)} pods "
        f"({recorded.n_gone} of them gone) since {scenario['start']}\n"
        f"run it again: python -m scheduler.simulator evaluate "
        f"--scenario {options.out / 'scenario.yaml'}\n"
    )
    return 0


@contextmanager
def _writing(folder: Path) -> Iterator[Path]:
    """Give a folder that takes its place once all is written, and goes if anything fails.

    Raises:
        SettingsError: It cannot be made, or holds something.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise SettingsError(f"--out: {folder} is there already, and not empty")
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            yield draft
            draft.chmod(0o755)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise SettingsError(f"--out: cannot write {folder}: {error.strerror or error}") from error


def _read(options: argparse.Namespace) -> tuple[Recorded, dict[str, Any], list[str]]:
    """Read all, and say how to run it again, and what is not in it.

    Raises:
        NothingToRecordError: There are no nodes, or no pods.
    """
    cluster_ = load_cluster(kubeconfig=options.kubeconfig, context=options.context, env=os.environ)
    with Client(cluster_, timeout_s=60.0) as client:
        cluster = read_cluster(client)
        now_s = client.now_s()
    from_s = now_s - float(options.since)
    if options.collector is None:
        recorded = put_together(cluster, (), from_s=from_s)
    else:
        with Past(options.collector) as past:
            _check_same(cluster, past.node_names(), url=options.collector)
            recorded = put_together(cluster, past.placements(), from_s=from_s)
            start_s = _start_s(recorded, from_s=from_s)
            _read_usage(recorded, past, start_s=start_s, end_s=math.ceil(now_s))
    if not recorded.nodes or not recorded.pods:
        raise NothingToRecordError("the cluster has no nodes, or had no pods since then")
    scenario = _scenario(
        recorded, name=options.name, start_s=_start_s(recorded, from_s=from_s), now_s=now_s
    )
    notes = _notes(cluster, recorded, has_past=options.collector is not None)
    if options.anonymise:
        _mask(recorded, Mask(secrets.token_bytes(_SALT_BYTES)))
    return recorded, scenario, notes


def _check_same(cluster: LiveCluster, names: set[str], *, url: str) -> None:
    """Refuse a collector that has not seen this cluster.

    Raises:
        PastError: It knows none of the nodes.
    """
    if cluster.nodes and names.isdisjoint(node.name for node in cluster.nodes):
        raise PastError(f"{url}: this collector knows none of the cluster's nodes")


def _start_s(recorded: Recorded, *, from_s: float) -> int:
    """Say when the recording begins: not before the first pod, at a full slot."""
    first_s = min((pod.created_at_s for pod in recorded.pods), default=from_s)
    return int(max(from_s, first_s) // _SLOT_S) * _SLOT_S


def _read_usage(recorded: Recorded, past: Past, *, start_s: int, end_s: int) -> None:
    for key, (cpu_milli, memory_bytes) in workload_requests(recorded.pods).items():
        points = past.workload_usage(key, start_s=start_s, end_s=end_s)
        recorded.usage += usage_rows(key, points, cpu_milli=cpu_milli, memory_bytes=memory_bytes)
    for node in recorded.nodes:
        points = past.node_usage(node.name, start_s=start_s, end_s=end_s)
        recorded.node_usage += usage_rows(
            node.name, points, cpu_milli=node.cpu_milli, memory_bytes=node.memory_bytes
        )


def _scenario(recorded: Recorded, *, name: str, start_s: int, now_s: float) -> dict[str, Any]:
    """Write the scenario: one half of the time to learn from, the other to be measured."""
    span_s = max(2 * _SLOT_S, math.ceil((now_s - start_s) / _SLOT_S) * _SLOT_S)
    warm_up_s = span_s // 2 // _SLOT_S * _SLOT_S
    recording = {"nodes": "nodes.csv", "pods": "pods.csv"}
    if recorded.usage:
        recording["usage"] = "usage.csv"
    return {
        "name": name,
        "description": (
            f"A cluster of {len(recorded.nodes)} nodes as it was from {rfc3339(start_s)} to "
            f"{rfc3339(now_s)}."
        ),
        "expects": "no_worse",
        "start": rfc3339(start_s),
        "warm_up": f"{warm_up_s}s",
        "measured": f"{span_s - warm_up_s}s",
        "recording": recording,
    }


def _notes(cluster: LiveCluster, recorded: Recorded, *, has_past: bool) -> list[str]:
    """Say what is not in the recording."""
    notes = [
        f"{n_pods} pods request {name}, which is not recorded"
        for name, n_pods in sorted(cluster.other_resources.items())
    ]
    if cluster.n_cordoned:
        notes.append(f"{cluster.n_cordoned} nodes are cordoned; recorded, they are not")
    if cluster.n_malformed:
        notes.append(f"{cluster.n_malformed} nodes and pods were left out: their amounts are none")
    if recorded.n_without_end:
        notes.append(
            f"{recorded.n_without_end} pods were left out that are gone: nobody saw them end"
        )
    if not has_past:
        notes.append("without --collector there are no pods that are gone, and no usage")
    elif not recorded.usage:
        notes.append("the collector knows of no usage yet: it will be drawn")
    return notes


def _mask(recorded: Recorded, mask: Mask) -> None:
    recorded.nodes = [mask.node(row) for row in recorded.nodes]
    recorded.pods = [mask.pod(row) for row in recorded.pods]
    recorded.usage = [_renamed(row, mask.workload(row.name)) for row in recorded.usage]
    recorded.node_usage = [_renamed(row, mask.name(row.name)) for row in recorded.node_usage]


def _renamed(row: UsageRow, name: str) -> UsageRow:
    return UsageRow(
        name=name, time_s=row.time_s, cpu_ratio=row.cpu_ratio, memory_ratio=row.memory_ratio
    )


def _write(folder: Path, *, recorded: Recorded, scenario: Mapping[str, Any]) -> None:
    write_rows(folder / "nodes.csv", recorded.nodes, kind=NodeRow)
    write_rows(folder / "pods.csv", recorded.pods, kind=PodRow)
    for name, rows in (("usage.csv", recorded.usage), ("node_usage.csv", recorded.node_usage)):
        if rows:
            write_rows(folder / name, rows, kind=UsageRow)
    text = yaml.safe_dump(dict(scenario), sort_keys=False, allow_unicode=True, width=100)
    (folder / "scenario.yaml").write_text(text, encoding="utf-8")
