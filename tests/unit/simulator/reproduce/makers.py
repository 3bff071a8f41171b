"""A small trace in openb's format, made up; its published curves are of our own runs."""

import csv
import gzip
import math

import numpy as np

from scheduler.plugins.gpu.policies import POLICIES
from scheduler.simulator.reproduce.comparison import PUBLISHED_NAMES
from scheduler.simulator.reproduce.study import Study

NODE_HEAD = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
POD_HEAD = ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
POD_TAIL = (
    "gpu_spec",
    "qos",
    "pod_phase",
    "creation_time",
    "deletion_time",
    "scheduled_time",
)
N_NODES = 60


def write_rows(path, head, rows):
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])


def node_rows():
    kinds = [(96_000, 8, "G2"), (104_000, 2, "T4"), (16_000, 2, "P100"), (64_000, 4, "V100M16")]
    return [
        (f"node-{i:03}", cpu, 262_144, cards, model)
        for i, (cpu, cards, model) in enumerate(kinds * (N_NODES // len(kinds)))
    ]


def pod_rows(*, n=450, seed=0, has_tail=True):
    chance = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        cards, milli = [(0, 0), (1, 470), (1, 810), (1, 1000), (1, 160), (2, 1000)][
            chance.choice(6, p=[0.15, 0.25, 0.2, 0.25, 0.1, 0.05])
        ]
        row = [f"pod-{i:04}", int(chance.choice([2, 4, 8, 12])) * 1000, 4096, cards, milli]
        if has_tail:
            spec = str(chance.choice(["", "", "T4", "G2|V100M16"])) if cards else ""
            row += [spec, "LS", "Running", i, i + 60, i]
        rows.append(tuple(row))
    return rows


def write_trace(folder, *, variants=("default",), has_tail=True):
    """Write nodes and pods; nothing of orders or published results."""
    write_rows(folder / "openb_node_list_gpu_node.csv", NODE_HEAD, node_rows())
    head = POD_HEAD + (POD_TAIL if has_tail else ())
    for seed, variant in enumerate(variants):
        rows = pod_rows(seed=seed, has_tail=has_tail)
        write_rows(folder / f"openb_pod_list_{variant}.csv.gz", head, rows)
    return folder


def record_orders(folder, *, variant="default", seeds=(42, 43)):
    """Record orders that we draw."""
    study = Study.read(folder, variant=variant)
    rows = []
    for seed in seeds:
        order = study.order(seed)
        rows.append((seed, "pods", " ".join(map(str, order.pods))))
        rows.append((seed, "node_rank", " ".join(map(str, order.node_ranks))))
    write_rows(folder / f"openb_order_{variant}.csv.gz", ("seed", "kind", "values"), rows)


def publish(folder, *, variants=("default",), seeds=(42, 43), off_by=0.0):
    """Publish what our runs come to, with two decimals, allocation *off_by* points at load 90."""
    head = ("trace", "policy", "seed", *map(str, range(131)))
    allocated, fragmented = [], []
    for variant in variants:
        study = Study.read(folder, variant=variant)
        for policy in filter(PUBLISHED_NAMES.get, POLICIES):
            for seed in seeds:
                run = study.run(policy, seed=seed)
                key = (variant, PUBLISHED_NAMES[policy], seed)
                curve = [v + off_by * (load == 90) for load, v in enumerate(run.allocated)]
                allocated.append((*key, *map(told, curve)))
                fragmented.append((*key, *map(told, run.fragmented)))
    write_rows(folder / "fgd_paper_alloc_pct.csv.gz", head, allocated)
    write_rows(folder / "fgd_paper_frag_pct.csv.gz", head, fragmented)


def told(value):
    return "" if math.isnan(value) else f"{value:.2f}"
