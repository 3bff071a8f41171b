"""Scenarios fitted to recorded pods: what they draw is like what was recorded."""

import math
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from scheduler.simulator.__main__ import main
from scheduler.simulator.draws import Distribution, draw
from scheduler.simulator.experiments.scenario import load_scenario
from scheduler.simulator.experiments.wishes import Arrival, Wishes
from scheduler.simulator.experiments.workload import HiddenUsage
from scheduler.simulator.parameters import USUAL
from scheduler.simulator.traces import openb
from scheduler.simulator.traces.arrivals import Window, burst_sizes, busy_window, hours_of_day
from scheduler.simulator.traces.durations import FINE_STEP, mean_of, quantiles_of
from scheduler.simulator.traces.rows import NodeRow, PodRow
from scheduler.simulator.traces.shapes import group_by_size
from scheduler.simulator.traces.tables import write_rows

TRACES = Path(os.environ.get("AI_SCHEDULER_TRACES", "/nowhere")) / "openb"
START_S = 1_772_409_600.0  # a midnight
HOUR_S, DAY_S = 3600.0, 86_400.0
WEEK_S = 7 * DAY_S
MIB = 2**20
SIZES = ((250, 512), (1000, 1024), (4000, 16_384))
"""Millicores and MiB."""
P_SIZES = (0.6, 0.3, 0.1)
MEDIANS_S = (120.0, 600.0, 7200.0)
Z = 4.5
"""Standard deviations that nothing here strays from in its lifetime."""
ALPHA = 1e-5


def fit(folder, pods, *options):
    """Fit a scenario by the command, and load it."""
    write_rows(folder / "pods.csv", pods, kind=PodRow)
    out = folder / "fitted.yaml"
    arguments = ["fit", "--pods", str(folder / "pods.csv"), "--out", str(out)]
    assert main([*arguments, *map(str, options)]) == 0
    return load_scenario(out)


def refusal(folder, pods, capsys):
    write_rows(folder / "pods.csv", pods, kind=PodRow)
    out = str(folder / "fitted.yaml")
    assert main(["fit", "--pods", str(folder / "pods.csv"), "--out", out]) == 2
    assert not (folder / "fitted.yaml").exists()
    return capsys.readouterr().err


def job(name, *, at_s, cpu_milli=250, memory_mib=512, **fields):
    return PodRow(
        name=name,
        created_at_s=START_S + at_s,
        cpu_request_milli=cpu_milli,
        memory_request_bytes=memory_mib * MIB,
        **fields,
    )


def replica(name, *, from_s, until_s=None, workload="web", **fields):
    ended = {} if until_s is None else {"ended_at_s": START_S + until_s}
    return job(name, at_s=from_s, workload=workload, **ended, **fields)


def recorded_week(seed=1, *, per_hour=40.0):
    """A week of work that comes in bursts, by day, small and large; the large takes longer."""
    chance = np.random.default_rng(seed)
    pods, at_s = [], 0.0
    while True:
        at_s += chance.exponential(HOUR_S / (2.0 * per_hour / 2.0))
        if at_s >= WEEK_S:
            return pods
        swing = 1.0 + 0.8 * math.cos((at_s / DAY_S - 0.6) * 2.0 * math.pi)
        if chance.random() > swing / 2.0:
            continue
        size = chance.choice(len(SIZES), p=P_SIZES)
        for _ in range(chance.choice([1, 4], p=[0.75, 0.25])):
            cpu_milli, memory_mib = SIZES[size]
            run_s = MEDIANS_S[size] * math.exp(chance.standard_normal())
            name, kind = f"p{len(pods)}", f"job-of-{size}"
            pods.append(
                job(
                    name,
                    at_s=float(int(at_s)),
                    cpu_milli=cpu_milli,
                    memory_mib=memory_mib,
                    run_s=round(run_s, 1),
                    workload=kind,
                    workload_kind="Job",
                )
            )


def generated(scenario, *, seed, for_s=WEEK_S):
    """Draw arrivals: time, workload and pod."""
    wishes = Wishes(scenario, seed=seed, start_s=START_S)
    drawn = []
    while wishes.next_at_s < START_S + for_s:
        now_s = wishes.next_at_s
        for wish in wishes.due(now_s):
            if isinstance(wish, Arrival):
                drawn += [(now_s, wish.member, name) for name in wish.pods]
    return drawn, wishes.members


def took_s(drawn, members, *, seed):
    """How long drawn pods take."""
    usage = HiddenUsage(members, seed=seed)
    return np.array(
        [
            usage.profile(
                pod=f"default/{name}",
                workload=f"default/{member.name}",
                container="app",
                cpu_request_milli=member.cpu_request_milli,
                memory_request_bytes=member.memory_request_bytes,
            ).run_s
            for _, member, name in drawn
        ]
    )


def furthest(first, second):
    """The statistic of Kolmogorov and Smirnov, of two samples."""
    at = np.sort(np.concatenate([first, second]))
    below = [
        np.searchsorted(np.sort(each), at, side="right") / len(each) for each in (first, second)
    ]
    return np.abs(below[0] - below[1]).max()


def farthest_by_chance(n, m):
    """What two samples of one distribution do not exceed, but with probability 2 ALPHA (DKW)."""
    return math.sqrt(math.log(2.0 / ALPHA) / 2.0) * (1.0 / math.sqrt(n) + 1.0 / math.sqrt(m))


@pytest.fixture(scope="module")
def week(tmp_path_factory):
    pods = recorded_week()
    scenario = fit(tmp_path_factory.mktemp("fitted"), pods)
    drawn, members = generated(scenario, seed=3)
    return pods, drawn, members


def by_hour(at_s):
    return np.bincount((np.array(at_s) % DAY_S // HOUR_S).astype(int), minlength=24)


def test_a_generated_week_has_as_many_arrivals_in_each_hour_of_the_day(week):
    pods, drawn, _ = week
    recorded = by_hour([pod.created_at_s for pod in pods])
    found = by_hour([at_s for at_s, _, _ in drawn])
    # Bursts of 1 (three quarters) and 4 vary more than single arrivals: by E[b²] / E[b].
    dispersion = (0.75 + 0.25 * 16) / (0.75 + 0.25 * 4)

    assert (np.abs(found - recorded) <= Z * np.sqrt((found + recorded) * dispersion)).all()
    assert found.max() > 3 * found.min()


def test_a_generated_week_has_pods_of_the_same_sizes(week):
    pods, drawn, _ = week
    recorded = Counter((pod.cpu_request_milli, pod.memory_request_bytes // MIB) for pod in pods)
    found = Counter((m.cpu_request_milli, m.memory_request_bytes // MIB) for _, m, _ in drawn)
    dispersion = (0.75 + 0.25 * 16) / (0.75 + 0.25 * 4)

    assert set(found) == set(recorded) == set(SIZES)
    for size in SIZES:
        p = recorded[size] / len(pods)
        deviation = math.sqrt(p * (1 - p) * dispersion * (1 / len(pods) + 1 / len(drawn)))
        assert found[size] / len(drawn) == pytest.approx(p, abs=Z * deviation)


def test_a_generated_week_has_work_that_takes_as_long(week):
    pods, drawn, members = week

    found = took_s(drawn, members, seed=3)

    recorded = np.array([pod.run_s for pod in pods])
    # Between two quantiles all durations are drawn alike, which is off by their distance at most.
    limit = farthest_by_chance(len(recorded), len(found)) + FINE_STEP
    assert furthest(recorded, found) <= limit
    for cpu_milli, _ in SIZES:
        was = np.log([pod.run_s for pod in pods if pod.cpu_request_milli == cpu_milli])
        now = np.log(found[[m.cpu_request_milli == cpu_milli for _, m, _ in drawn]])
        # A sample's median strays by 1.2533 standard deviations over the root of its size.
        stray = 1.2533 * math.sqrt(1 / len(was) + 1 / len(now))
        assert np.median(now) == pytest.approx(np.median(was), abs=Z * stray)


def test_a_generated_week_has_bursts_of_the_same_sizes(week):
    _, drawn, _ = week
    sizes = np.array(list(Counter(at_s for at_s, _, _ in drawn).values()))

    # At times two bursts come within one recorded second, so that larger ones are fitted, too.
    assert np.mean(sizes == 4) == pytest.approx(0.25, abs=Z * math.sqrt(0.19 / len(sizes)) + 0.02)
    assert np.mean(sizes == 1) == pytest.approx(0.75, abs=Z * math.sqrt(0.19 / len(sizes)) + 0.02)


def test_the_same_seed_draws_the_same_and_another_does_not(tmp_path):
    scenario = fit(tmp_path, recorded_week(per_hour=5.0))

    def drawn(seed):
        return [(at_s, name) for at_s, _, name in generated(scenario, seed=seed)[0]]

    assert drawn(1) == drawn(1) != drawn(2)


def test_the_same_pods_are_fitted_alike_to_the_last_byte(tmp_path):
    pods = recorded_week(per_hour=5.0)
    fit(tmp_path, pods)
    first = (tmp_path / "fitted.yaml").read_bytes()
    fit(tmp_path, pods)

    assert (tmp_path / "fitted.yaml").read_bytes() == first


def test_compressed_so_many_times_as_much_comes(tmp_path):
    pods = recorded_week(per_hour=5.0)

    as_it_was, more = (fit(tmp_path, pods, "--compress", times) for times in (1, 10))

    assert sum(job.per_hour for job in more.jobs) == pytest.approx(
        10 * sum(job.per_hour for job in as_it_was.jobs), rel=0.001
    )
    assert [job.run_s for job in more.jobs] == [job.run_s for job in as_it_was.jobs]
    assert [job.hourly for job in more.jobs] == [job.hourly for job in as_it_was.jobs]


def test_services_have_as_many_replicas_and_rollouts_as_were_seen(tmp_path):
    day = DAY_S
    pods = [
        *(replica(f"a{i}", from_s=0, until_s=2 * day) for i in range(3)),
        *(replica(f"b{i}", from_s=2 * day, until_s=4 * day) for i in range(3)),
        *(replica(f"c{i}", from_s=4 * day, until_s=6 * day) for i in range(3)),
        replica("x", from_s=0, workload="db", cpu_milli=2000),
        replica("y", from_s=0, until_s=60, workload="probe"),
    ]

    scenario = fit(tmp_path, pods)

    web, db = sorted(scenario.services, key=lambda service: service.cpu_request_milli)
    assert (web.replicas, web.kinds, web.cpu_request_milli) == (3.0, 1, 250.0)
    assert web.rollout_every == pytest.approx(3 * day)
    assert (db.replicas, db.rollout_every, db.cpu_request_milli) == (1.0, None, 2000.0)


def test_alike_workloads_become_one_service_of_many_kinds(tmp_path):
    pods = [
        replica(f"{name}-{i}", from_s=0, until_s=DAY_S, workload=name)
        for name, n in (("a", 1), ("b", 1), ("c", 4))
        for i in range(n)
    ]

    [service] = fit(tmp_path, pods).services

    assert service.kinds == 3
    assert service.replicas == Distribution(choice=(1.0, 4.0), weights=(2.0, 1.0))


def test_limits_and_priorities_are_kept(tmp_path):
    pods = [
        job(f"p{i}", at_s=60.0 * i, run_s=9.0, cpu_limit_milli=500, priority=7 * (i % 2))
        for i in range(40)
    ]

    jobs = fit(tmp_path, pods).jobs

    assert [(job.priority, job.cpu_limit_ratio, job.memory_limit_ratio) for job in jobs] == [
        (0, 2.0, None),
        (7, 2.0, None),
    ]


def test_recorded_nodes_become_groups_of_what_schedulers_cannot_tell_apart(tmp_path):
    def node(name, **fields):
        labels = f"kubernetes.io/hostname={name},serial=s-{name},disk=ssd"
        return NodeRow(name=name, cpu_milli=9000, memory_bytes=2**34, labels=labels, **fields)

    nodes = [
        node("a", allocatable_cpu_milli=8000, allocatable_memory_bytes=2**33),
        node("b", taints="gpu=yes:NoSchedule,old:NoExecute", max_pods=30),
        node("c", allocatable_cpu_milli=8000, allocatable_memory_bytes=2**33),
    ]
    write_rows(tmp_path / "nodes.csv", nodes, kind=NodeRow)

    scenario = fit(tmp_path, recorded_week(per_hour=2.0), "--nodes", tmp_path / "nodes.csv")

    two, one = scenario.nodes
    usual = USUAL.nodes
    assert (two.count, one.count) == (2, 1)
    assert two.labels == one.labels == {"disk": "ssd"}
    assert two.cpu_milli - usual.reserved_cpu_milli == 8000
    assert two.memory_bytes - usual.reserved_memory_bytes - usual.eviction_hard_bytes == 2**33
    assert (one.cpu_milli, one.memory_bytes, one.max_pods) == (9000, 2**34, 30)
    assert [(t.key, t.value, t.effect) for t in one.taints] == [
        ("gpu", "yes", "NoSchedule"),
        ("old", "", "NoExecute"),
    ]


def test_without_nodes_there_are_as_many_as_the_work_needs(tmp_path):
    pods = [job(f"p{i}", at_s=36.0 * i, cpu_milli=4000, run_s=7200.0) for i in range(1000)]

    [group] = fit(tmp_path, pods).nodes

    # 100 an hour for 2 h are 200 pods of 4 cores: 800 cores, at 70 % of nodes of 16.
    assert (group.cpu, group.count) == ("16", pytest.approx(800 / 0.7 / 16, abs=2))


def test_usage_that_was_recorded_is_fitted_too(tmp_path):
    slots = np.arange(2 * 288)
    lines = ["name,time_s,cpu_ratio,memory_ratio"]
    for i in range(8):
        level = 0.1 * (i + 1)
        cpu = level * (1.0 + 0.5 * np.sin(2.0 * np.pi * slots / 288))
        lines += [
            f"w{i},{300 * slot},{ratio:.4f},{level / 2}"
            for slot, ratio in zip(slots, cpu, strict=True)
        ]
    (tmp_path / "usage.csv").write_text("\n".join(lines))

    scenario = fit(tmp_path, recorded_week(per_hour=2.0), "--usage", tmp_path / "usage.csv")

    nature = scenario.jobs[0].nature
    chance = np.random.default_rng(1)
    drawn = {
        name: np.array([draw(getattr(nature, name), chance) for _ in range(500)])
        for name in ("cpu_ratio", "memory_ratio", "diurnal_amplitude", "diurnal_phase_s")
    }
    assert (drawn["cpu_ratio"].min() >= 0.09, drawn["cpu_ratio"].max() <= 0.81) == (True, True)
    assert np.median(drawn["cpu_ratio"]) == pytest.approx(0.45, abs=0.08)
    assert np.median(drawn["memory_ratio"]) == pytest.approx(0.225, abs=0.04)
    assert drawn["diurnal_amplitude"] == pytest.approx(0.5, abs=0.01)
    assert drawn["diurnal_phase_s"] == pytest.approx(0.0, abs=300.0)


@pytest.mark.parametrize(
    ("pods", "told"),
    [
        pytest.param([job("a", at_s=0, run_s=9.0)], "at one instant", id="no rate"),
        pytest.param([replica("a", from_s=0)], "at one instant", id="no time"),
        pytest.param(
            [job("a", at_s=0), job("b", at_s=9)], "no pod tells how long it took", id="no durations"
        ),
    ],
)
def test_pods_that_do_not_tell_enough_are_refused(tmp_path, capsys, pods, told):
    assert told in refusal(tmp_path, pods, capsys)


def test_a_malformed_row_is_told_with_file_line_and_column(tmp_path, capsys):
    pods = tmp_path / "pods.csv"
    pods.write_text("name,created_at_s,cpu_request_milli,memory_request_bytes\na,1,x,2\n")

    assert main(["fit", "--pods", str(pods), "--out", str(tmp_path / "out.yaml")]) == 2
    assert f"{pods}:2: cpu_request_milli: " in capsys.readouterr().err


# Parts.


def test_what_is_cut_off_counts_as_taking_longer():
    chance = np.random.default_rng(2)
    true_s = chance.exponential(1000.0, 4000)
    cut_s = chance.exponential(1000.0, 4000)
    seen_s = np.minimum(true_s, cut_s)

    estimated = dict(quantiles_of(seen_s, is_cut_off=cut_s < true_s))
    naive = dict(quantiles_of(seen_s[true_s <= cut_s]))

    # Half of all are cut off; by Greenwood's formula the deviation at the median is below 1 %.
    assert estimated[0.5] == pytest.approx(1000.0 * math.log(2.0), rel=0.1)
    assert naive[0.5] < 600.0


def test_quantiles_without_cuts_are_those_of_the_sample():
    values = np.random.default_rng(3).lognormal(6.0, 1.5, 1000)

    quantiles = quantiles_of(values)

    shares, numbers = np.array(quantiles).T
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert numbers[[0, -1]] == pytest.approx([values.min(), values.max()], rel=1e-3)
    assert numbers == pytest.approx(np.quantile(values, shares, method="hazen"), rel=1e-3)
    assert mean_of(((0.0, 0.0), (0.5, 10.0), (1.0, 30.0))) == pytest.approx(12.5)


def test_few_sizes_are_groups_of_their_own_the_largest_first():
    cpu = np.array([1.0, 5.0, 5.0, 5.0, 1.0, 9.0])

    assert group_by_size(cpu, cpu, max_groups=3).tolist() == [1, 0, 0, 0, 1, 2]


def test_many_sizes_join_those_that_they_are_like():
    chance = np.random.default_rng(4)
    cpu = np.exp(chance.uniform(0.0, 8.0, 2000))

    group = group_by_size(cpu, cpu, max_groups=10)

    spread = [np.ptp(np.log(cpu[group == number])) for number in range(group.max() + 1)]
    assert len(spread) <= 10
    assert max(spread) < 2 * 8.0 / 10 + math.log(4.0)


def test_a_trace_begins_where_it_is_busy():
    early = np.array([0.0, 1000.0])
    busy = 1e6 + np.arange(1000) * 10.0

    window = busy_window(np.concatenate([early, busy]))

    assert window.start_s >= 1e6
    assert window.span_s == pytest.approx(0.99 * 10_000, rel=0.02)


def test_hours_that_were_looked_at_more_often_count_no_more():
    window = Window(0.0, 2.5 * DAY_S)
    at_s = np.arange(0.0, window.end_s, 60.0)

    assert hours_of_day(at_s, window=window) == pytest.approx((1.0,) * 24, abs=0.02)
    assert hours_of_day(at_s[:100], window=window) is None
    assert hours_of_day(at_s, window=Window(0.0, DAY_S)) is None


def test_bursts_are_what_comes_within_one_second():
    assert burst_sizes(np.array([1.0, 1.9, 5.0, 7.0, 7.1, 7.2])) == ((1, 1), (2, 1), (3, 1))


def test_of_very_many_sizes_of_bursts_those_that_matter_are_kept():
    sizes = np.arange(1, 60)
    at_s = np.repeat(sizes * 10.0, sizes)

    kept = burst_sizes(at_s)

    assert len(kept) <= 20
    assert sum(size * n for size, n in kept) == pytest.approx(sizes.sum(), rel=0.05)


# The GPU trace, where it is at hand: its terms keep it out of this repository.

AT_HAND = pytest.mark.skipif(not TRACES.is_dir(), reason="AI_SCHEDULER_TRACES names no openb")


@AT_HAND
def test_a_generated_month_is_like_the_gpu_trace(tmp_path):
    out = tmp_path / "openb.yaml"
    pods_file = TRACES / "openb_pod_list_default.csv"
    options = ["--format", "openb", "--compress", "4", "--out", str(out)]
    assert main(["fit", "--pods", str(pods_file), *options]) == 0
    pods = openb.read_pods(TRACES, variant="default")
    window = busy_window(np.array([p.created_at_s for p in pods], dtype=float))

    drawn, members = generated(load_scenario(out), seed=5, for_s=WEEK_S)

    expected = 4 * 0.99 * len(pods) * WEEK_S / window.span_s
    assert len(drawn) == pytest.approx(expected, abs=Z * math.sqrt(2 * expected))
    recorded_cpu = np.array([p.cpu_milli for p in pods], dtype=float)
    found_cpu = np.array([m.cpu_request_milli for _, m, _ in drawn], dtype=float)
    # Of sizes, those that one in fifty has join others.
    assert furthest(recorded_cpu, found_cpu) <= farthest_by_chance(len(pods), len(drawn)) + 0.02
    recorded_s = np.array(
        [p.deleted_at_s - p.scheduled_at_s for p in pods if p.scheduled_at_s is not None],
        dtype=float,
    ).clip(1.0)
    some = drawn[:1500]
    found_s = took_s(some, members, seed=5)
    limit = farthest_by_chance(len(recorded_s), len(found_s)) + FINE_STEP
    assert furthest(recorded_s, found_s) <= limit


@AT_HAND
def test_a_variant_without_times_is_refused(tmp_path, capsys):
    path = TRACES / "openb_pod_list_multigpu20.csv.gz"
    options = ["--format", "openb", "--out", str(tmp_path / "a.yaml")]

    assert main(["fit", "--pods", str(path), *options]) == 2
    assert "does not tell when pods came" in capsys.readouterr().err
