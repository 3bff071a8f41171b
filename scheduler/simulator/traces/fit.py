"""``python -m scheduler.simulator fit``: a scenario whose work is like what was recorded."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from kube.edge.settings import SettingsError
from scheduler.simulator.experiments.scenario import load_scenario
from scheduler.simulator.traces import openb
from scheduler.simulator.traces.fitting import (
    Fit,
    Group,
    NothingToFitError,
    fit_pods,
    nodes_for,
)
from scheduler.simulator.traces.makes import node_groups
from scheduler.simulator.traces.nature import fit_nature
from scheduler.simulator.traces.rows import NodeRow, PodRow
from scheduler.simulator.traces.tables import read_nodes, read_pods
from scheduler.simulator.usage_traces import load_usage

_OPENB_PODS: Final = "openb_pod_list_"
_NUMBERS: Final = (int, float)


class _Flow(list[Any]):
    """A list that is written on few lines."""


class _Dumper(yaml.SafeDumper):
    """Writes lists of numbers on few lines, and everything in full."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    _Flow,
    lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True),
)


def fit(options: argparse.Namespace) -> int:
    """Fit, and write the scenario; return the exit code.

    Raises:
        SettingsError: A file cannot be used.
    """
    pods = _pods(options)
    try:
        fitted = fit_pods(pods, compress=options.compress)
    except NothingToFitError as error:
        raise SettingsError(f"{options.pods}: {error}") from error
    text = _write(_scenario(options, fitted, n_pods=len(pods)))
    _replace(options.out, text)
    for note in fitted.notes:
        sys.stdout.write(f"note: {note}\n")
    per_hour = sum(job["per_hour"] for job in fitted.jobs)
    sys.stdout.write(
        f"fitted {len(pods)} pods by {len(fitted.jobs)} jobs ({per_hour:.4g} pods an hour) and "
        f"{len(fitted.services)} services; they request {fitted.cpu_milli / 1000:.4g} cores and "
        f"{fitted.memory_bytes / 2**30:.4g} GiB on average\n{options.out}\n"
    )
    return 0


def _scenario(options: argparse.Namespace, fitted: Fit, *, n_pods: int) -> dict[str, Any]:
    nature = {} if options.usage is None else fit_nature(load_usage(options.usage))
    own = {"nature": nature} if nature else {}
    return {
        "name": options.name,
        "description": f"Work like that of {n_pods} recorded pods of {options.pods.name}.",
        "expects": "no_worse",
        "nodes": _nodes(options, fitted),
        "services": [{**group, **own} for group in fitted.services],
        "jobs": [{**group, **own} for group in fitted.jobs],
    }


# --- reading


def _pods(options: argparse.Namespace) -> tuple[PodRow, ...]:
    if options.format == "generic":
        return read_pods(options.pods)
    variant = options.pods.name.removeprefix(_OPENB_PODS).partition(".")[0]
    pods = openb.read_pods(options.pods.parent, variant=variant)
    rows = [_openb_row(pod) for pod in pods if pod.created_at_s is not None]
    if not rows:
        raise SettingsError(f"{options.pods}: this variant does not tell when pods came")
    return tuple(sorted(rows, key=lambda row: row.created_at_s))


def _openb_row(pod: openb.OpenbPod) -> PodRow:
    run_s = None
    if pod.scheduled_at_s is not None and pod.deleted_at_s is not None:
        run_s = max(1.0, float(pod.deleted_at_s - pod.scheduled_at_s))
    return PodRow(
        name=pod.name,
        created_at_s=float(pod.created_at_s or 0),
        placed_at_s=None if pod.scheduled_at_s is None else float(pod.scheduled_at_s),
        run_s=run_s,
        cpu_request_milli=pod.cpu_milli,
        memory_request_bytes=pod.memory_bytes,
    )


def _nodes(options: argparse.Namespace, fitted: Fit) -> list[Group]:
    if options.nodes is None:
        return [nodes_for(fitted)]
    if options.format == "generic":
        return node_groups(read_nodes(options.nodes))
    return node_groups([_openb_node(n) for n in openb.read_nodes(options.nodes.parent)])


def _openb_node(node: openb.OpenbNode) -> NodeRow:
    return NodeRow(
        name=node.name,
        cpu_milli=node.cpu_milli,
        memory_bytes=node.memory_bytes,
        labels=f"gpu-model={node.model}" if node.model else "",
    )


# --- writing


def _write(scenario: dict[str, Any]) -> str:
    return yaml.dump(
        _compact(scenario), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )


def _compact(part: Any) -> Any:
    """Mark the lists that hold nothing but numbers, or pairs of them."""
    if isinstance(part, dict):
        return {name: _compact(each) for name, each in part.items()}
    if not isinstance(part, list):
        return part
    inner = [_compact(each) for each in part]
    is_plain = all(isinstance(each, (*_NUMBERS, _Flow)) for each in inner)
    return _Flow(inner) if inner and is_plain else inner


def _replace(path: Path, text: str) -> None:
    """Write a scenario, once it is known that it can be run.

    Raises:
        SettingsError: It cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        load_scenario(draft)
        draft.replace(path)
    except OSError as error:
        raise SettingsError(f"--out: cannot write {path}: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
