"""We decide as a kube-scheduler 1.36 did, in every recorded scenario (see tests/data/README.md)."""

from collections import Counter
from pathlib import Path

import pytest

from scheduler.conformance.agreement import disagreements, kube_scheduler_profile
from scheduler.conformance.scenarios import read_recordings

RECORDING = Path(__file__).parents[1] / "data" / "kube-scheduler-1.36.jsonl.gz"
FAMILIES = (
    "resources",
    "taints",
    "nodeaffinity",
    "interpod",
    "spread",
    "ports",
    "images",
    "preemption",
    "volumes",
    "defaults",
    "mixed",
)
N_SCENARIOS = 150


@pytest.fixture(scope="module")
def outcomes():
    """How every scenario came out: family, name, disagreements."""
    profile = kube_scheduler_profile()
    return [
        (each.family, each.id, disagreements(each, profile=profile))
        for each in read_recordings(RECORDING)
    ]


def test_every_scenario_is_run(outcomes):
    names = {name for _, name, _ in outcomes}

    assert Counter(family for family, _, _ in outcomes) == dict.fromkeys(FAMILIES, N_SCENARIOS)
    assert len(names) == N_SCENARIOS * len(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_agrees_with_every_recorded_decision(outcomes, family):
    differing = {name: lines for its, name, lines in outcomes if its == family and lines}

    assert differing == {}
