"""The recorded trace: published curves, and placements node for node.

``AI_SCHEDULER_TRACES`` names a folder that holds ``openb``; the trace's terms keep it out of this
project. A few runs are part of the default suite; ``-m traces`` makes all that are recorded.
"""

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from scheduler.plugins.gpu.policies import POLICIES
from scheduler.simulator.reproduce.comparison import CHANCY, PUBLISHED_NAMES, compare_with_published
from scheduler.simulator.reproduce.replay import REJECTED
from scheduler.simulator.reproduce.study import study_of
from scheduler.simulator.traces.openb import read_published, variants

VARIABLE = "AI_SCHEDULER_TRACES"
FOLDER = Path(os.environ.get(VARIABLE, "/nowhere")) / "openb"
DETERMINISTIC = [name for name in POLICIES if name in PUBLISHED_NAMES and name not in CHANCY]

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"{VARIABLE} names no folder with the recorded trace openb"
)


def recorded_variants():
    return variants(FOLDER) if FOLDER.is_dir() else ["none"]


def worst_difference(variant, policy, seeds):
    study = study_of(FOLDER, variant)
    runs = [study.run(policy, seed=seed) for seed in seeds]
    published = read_published(FOLDER, variant=variant)
    return compare_with_published(runs, published=published).worst_run_difference


@pytest.mark.parametrize(("policy", "column"), [("fgd", "fgd"), ("best-fit", "bestfit")])
def test_golden_placements_node_for_node_and_card_for_card(policy, column):
    path = FOLDER / "openb_golden_default_seed42.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        golden = list(csv.DictReader(file))
    study = study_of(FOLDER, "default")
    order = study.order(42)

    placements = study.place(policy, seed=42)

    nodes = study.ranked_nodes(order)
    found = [
        ("" if row == REJECTED else nodes[row].name, "-".join(map(str, cards)))
        for row, cards in zip(placements.nodes, placements.cards, strict=True)
    ]
    assert [row["pod_row"] for row in golden] == [str(row) for row in order.pods]
    assert found == [(row[f"{column}_node"], row[f"{column}_cards"]) for row in golden]


def test_the_final_state_is_the_one_that_was_printed():
    study = study_of(FOLDER, "default")
    order = study.order(42)

    placements = study.place("fgd", seed=42)

    placed = [
        study.requests[pod]
        for pod, row in zip(order.pods, placements.nodes, strict=True)
        if row != REJECTED
    ]
    assert sum(pod.gpu_milli for pod in placed) == 5_919_410
    assert sum(pod.cpu_milli for pod in placed) == 89_928_302
    assert sum(pod.memory_bytes for pod in placed) == 328_998_433_325_056
    assert len(order.pods) - len(placed) == 2532


@pytest.mark.parametrize(
    ("variant", "policy", "seed"),
    [
        *(("default", policy, 47) for policy in DETERMINISTIC),
        ("gpuspec20", "fgd", 43),
        ("multigpu30", "gpu-clustering", 44),
        ("gpushare60", "best-fit", 45),
    ],
)
def test_published_curves_at_every_load(variant, policy, seed):
    assert worst_difference(variant, policy, [seed]) < 0.05


def test_random_is_like_the_published_one_in_the_mean():
    study = study_of(FOLDER, "default")
    runs = [study.run("random", seed=seed) for seed in (42, 43, 44, 45, 46)]

    row = compare_with_published(runs, published=read_published(FOLDER, variant="default"))

    assert row.worst_mean_difference < 0.5


def test_orders_that_we_draw_come_to_the_published_means():
    study = study_of(FOLDER, "default")

    allocated = [study.run("best-fit", seed=seed).allocated[130] for seed in range(142, 147)]

    published = read_published(FOLDER, variant="default")
    theirs = [c.allocated[130] for (name, _), c in published.items() if name == "BestFit"]
    assert np.mean(allocated) == pytest.approx(np.mean(theirs), abs=0.25)


@pytest.mark.traces
@pytest.mark.parametrize("policy", DETERMINISTIC)
@pytest.mark.parametrize("variant", recorded_variants())
def test_every_recorded_run(variant, policy):
    seeds = sorted(study_of(FOLDER, variant).recorded)

    assert worst_difference(variant, policy, seeds) < 0.05
