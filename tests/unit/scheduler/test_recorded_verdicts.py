"""The engine's rules against verdicts of a real kube-scheduler 1.36 (see tests/data/README.md)."""

import gzip
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kube.objects import Namespace, Node, Pod, PodDisruptionBudget, Service
from kube.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from scheduler.cache import ClusterCache
from scheduler.framework.configuration import Disabled, Plugins, PluginSet
from scheduler.framework.cycle import CycleState
from scheduler.framework.filter_result import FilterResult
from scheduler.framework.profile import Profile
from scheduler.framework.runtime import FilterRun, run_scores
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import Code
from scheduler.model import NodeFacts, PodFacts
from scheduler.plugins.unsupported import UnsupportedRules
from tests.unit.scheduler.worlds import make_profile

RECORDING = Path(__file__).parents[2] / "data" / "kube-scheduler-1.36.jsonl.gz"

N_SCENARIOS = {
    "resources": 150,
    "taints": 150,
    "nodeaffinity": 150,
    "ports": 150,
    "images": 150,
    "preemption": 150,
    "defaults": 150,
    "interpod": 150,
    "spread": 150,
    "volumes": 150,
    "mixed": 150,
}
"""In how many scenarios of each family no other plugin than ours refused a node."""

OBJECTS = {
    "namespaces": Namespace,
    "services": Service,
    "pvcs": PersistentVolumeClaim,
    "pvs": PersistentVolume,
    "storageClasses": StorageClass,
    "pdbs": PodDisruptionBudget,
}


@cache
def scenarios() -> Mapping[str, list[dict[str, Any]]]:
    families: dict[str, list[dict[str, Any]]] = {}
    with gzip.open(RECORDING, "rt", encoding="utf-8") as lines:
        for line in lines:
            scenario = json.loads(line)
            families.setdefault(scenario["family"], []).append(scenario)
    return families


def world(scenario: Mapping[str, Any]) -> Snapshot:
    cache = ClusterCache()
    for node in scenario["nodes"]:
        cache.set_node(NodeFacts.from_node(msgspec.convert(node, Node, strict=False)))
    for pod in scenario["pods"]:
        cache.add_pod(read_pod(pod))
    for field, kind in OBJECTS.items():
        for document in scenario.get(field, ()):
            cache.snapshot.objects.put(msgspec.convert(document, kind, strict=False))
    return cache.snapshot


def read_pod(document: Mapping[str, Any]) -> PodFacts:
    return PodFacts.from_pod(msgspec.convert(document, Pod, strict=False))


def spelled_out(found: FilterResult, names: list[str]) -> dict[str, Any]:
    refused = found.statuses(names, limit=len(names))
    statuses: dict[str, Any] = {name: {"code": Code.SUCCESS.word} for name in names}
    for name, (plugin, status) in refused.items():
        statuses[name] = {
            "code": status.code.word,
            "plugin": plugin,
            "reasons": set(status.reasons),
        }
    return statuses


def disagreements(scenario: Mapping[str, Any], profile: Profile) -> Iterator[str]:
    expected, snapshot, pod = scenario["expected"], world(scenario), read_pod(scenario["pod"])
    state = CycleState()

    found = FilterRun(profile, state=state, pod=pod, snapshot=snapshot).run()

    wanted = {
        name: {**status, "reasons": set(status["reasons"])} if "reasons" in status else status
        for name, status in expected["statuses"].items()
    }
    statuses = spelled_out(found, snapshot.names)
    if statuses != wanted:
        yield f"statuses {statuses}, not {wanted}"
    if not found.feasible.any():
        if found.message() != expected["message"]:
            yield f"message {found.message()!r}, not {expected['message']!r}"
        return
    result = run_scores(profile, state=state, pod=pod, snapshot=snapshot, feasible=found.feasible)
    for position, row in enumerate(result.rows.tolist()):
        recorded = expected["scores"][snapshot.names[row]]
        for plugin in profile.score:
            column = result.by_plugin.get(plugin.name)
            ours = 0 if column is None else int(column[position])
            theirs = recorded.get(plugin.name, 0)
            if ours != theirs:
                yield f"{snapshot.names[row]}: {plugin.name} {ours}, not {theirs}"


def is_decided_by(profile: Profile, scenario: Mapping[str, Any]) -> bool:
    known = {*profile.plugins(), ""}
    return all(s.get("plugin", "") in known for s in scenario["expected"]["statuses"].values())


@pytest.mark.parametrize("family", N_SCENARIOS)
def test_agrees_with_every_recorded_verdict(family):
    # Where no other plugin refused, rules that are not kept here yet change no verdict.
    unguarded = PluginSet(disabled=(Disabled(name=UnsupportedRules.name),))
    profile = make_profile(
        plugins=Plugins(multi_point=unguarded), scheduler_name="default-scheduler"
    )
    chosen = [each for each in scenarios()[family] if is_decided_by(profile, each)]

    found = {each["id"]: list(disagreements(each, profile)) for each in chosen}

    assert {name: what for name, what in found.items() if what} == {}
    assert len(found) == N_SCENARIOS[family]
