"""How nodes treat their pods: memory, cpu, pressure, outages; and that chance is repeatable."""

import copy

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scheduler.simulator import changes as ch
from scheduler.simulator.hardware import draw_nodes
from scheduler.simulator.usage import draw_traits
from scheduler.simulator.world import World
from tests.builders import EPOCH_S
from tests.simulator_world import (
    GI,
    MI,
    make_sim_container,
    make_sim_node,
    make_sim_pod,
    make_world,
    only,
    traits,
)


def usage_of(world, pod):
    sample = world.sample()
    index = sample.containers.index((pod, "app"))
    return sample.container_cpu_milli[index], sample.container_memory_bytes[index]


# --- memory


def test_a_container_over_its_memory_limit_is_killed_and_starts_again():
    container = make_sim_container(memory_mi=300, memory_limit_bytes=200 * MI)
    world = make_world(make_sim_pod("p", container), make_sim_pod("other"))

    changes = world.advance(EPOCH_S + 200)

    exits = only(changes, ch.ContainerExited)
    assert {(e.pod, e.exit_code, e.cause) for e in exits} == {("p", 137, "limit")}
    assert only(changes, ch.ContainerStarted)[-1].restart_count >= 1
    assert only(changes, ch.NodePressureChanged) == []


def test_a_leak_reaches_the_limit_when_it_must():
    container = make_sim_container(
        memory_mi=100, memory_growth_bytes_per_h=100 * MI, memory_limit_bytes=200 * MI
    )
    world = make_world(make_sim_pod("p", container))

    [first, *_] = only(world.advance(EPOCH_S + 7200), ch.ContainerExited)

    assert first.at_s - EPOCH_S == pytest.approx(3600, rel=0.05)


def test_growth_with_an_end_stays_below_the_limit():
    container = make_sim_container(
        memory_mi=100,
        memory_growth_bytes_per_h=100 * MI,
        memory_growth_limit_bytes=50 * MI,
        memory_limit_bytes=200 * MI,
    )
    world = make_world(make_sim_pod("p", container))

    assert only(world.advance(EPOCH_S + 7200), ch.ContainerExited) == []
    assert usage_of(world, "p")[1] == pytest.approx(150 * MI, rel=0.03)


def leaking(name, *, memory_mi, request_mi, priority=0, growth_mi_per_h=0.0):
    container = make_sim_container(
        memory_mi=memory_mi,
        memory_request_bytes=request_mi * MI,
        memory_growth_bytes_per_h=growth_mi_per_h * MI,
    )
    return make_sim_pod(name, container, priority=priority)


def test_a_node_short_of_memory_evicts_one_pod_at_a_time_until_it_is_not():
    pods = [leaking(f"p{i}", memory_mi=320, request_mi=100 + i) for i in range(3)]
    world = make_world(*pods, memory_bytes=GI)

    changes = world.advance(EPOCH_S + 300)

    [evicted] = only(changes, ch.PodEvicted)
    # All are above their request by about as much; the noise of usage decides little.
    assert evicted.available_bytes < 100 * MI
    assert not world.has(evicted.pod)
    [pressure] = only(changes, ch.NodePressureChanged)
    assert pressure.has_memory_pressure


def test_pressure_ends_five_minutes_after_memory_was_last_short():
    pods = [leaking(f"p{i}", memory_mi=320, request_mi=100) for i in range(3)]
    world = make_world(*pods, memory_bytes=GI)

    on, off = only(world.advance(EPOCH_S + 1000), ch.NodePressureChanged)

    assert (on.has_memory_pressure, off.has_memory_pressure) == (True, False)
    assert off.at_s - on.at_s == pytest.approx(300, abs=10)


def test_evictions_take_those_above_their_request_first_then_low_priority_then_the_most_above():
    pods = [
        leaking("within", memory_mi=200, request_mi=300, priority=-5),
        leaking("important", memory_mi=260, request_mi=50, priority=100),
        leaking("little-above", memory_mi=200, request_mi=150),
        leaking("much-above", memory_mi=200, request_mi=50),
    ]
    grow = leaking("grow", memory_mi=60, request_mi=4000, priority=9, growth_mi_per_h=3600)
    world = make_world(*pods, grow, memory_bytes=GI + 100 * MI)

    evicted = only(world.advance(EPOCH_S + 1500), ch.PodEvicted)

    order = [change.pod for change in evicted]
    assert order[:4] == ["much-above", "little-above", "important", "within"]


def test_critical_pods_are_never_evicted():
    pods = [leaking("critical", memory_mi=500, request_mi=1, priority=2_000_000_000)]
    pods.append(leaking("plain", memory_mi=460, request_mi=400))
    world = make_world(*pods, memory_bytes=GI)

    evicted = only(world.advance(EPOCH_S + 200), ch.PodEvicted)

    assert [change.pod for change in evicted] == ["plain"]


def test_memory_that_runs_out_at_once_is_the_kernels_to_free():
    pods = [
        make_sim_pod("best-effort", make_sim_container(memory_mi=300), qos="BestEffort"),
        make_sim_pod(
            "burstable",
            make_sim_container(memory_mi=400, memory_request_bytes=200 * MI),
        ),
        make_sim_pod(
            "guaranteed",
            make_sim_container(memory_mi=900, memory_request_bytes=950 * MI),
            qos="Guaranteed",
        ),
    ]
    world = make_world(*pods[:2], memory_bytes=GI)
    world.advance(EPOCH_S + 120)
    world.place(pods[2])

    changes = world.advance(EPOCH_S + 190)

    kills = [e for e in only(changes, ch.ContainerExited) if e.cause == "node_memory"]
    assert kills[0].pod == "best-effort"
    assert all(kill.exit_code == 137 for kill in kills)
    assert "guaranteed" not in {kill.pod for kill in kills}


# --- cpu


def test_cpu_over_the_limit_is_throttled_to_it():
    world = make_world(make_sim_pod("p", make_sim_container(cpu=1000, cpu_limit_milli=250)))
    world.advance(EPOCH_S + 60)

    sample = world.sample()

    assert sample.container_cpu_milli[0] == 250
    assert sample.container_throttled_ratio[0] == pytest.approx(0.75, abs=0.07)
    ratio = sample.container_cfs_throttled_periods[0] / sample.container_cfs_periods[0]
    assert ratio == pytest.approx(0.75, abs=0.07)


def test_cpu_beyond_the_nodes_capacity_is_shared_in_proportion_to_requests():
    pods = [
        make_sim_pod(name, make_sim_container(cpu=5000, cpu_request_milli=request))
        for name, request in (("small", 500), ("large", 1500))
    ]
    world = make_world(*pods)
    world.advance(EPOCH_S + 60)

    assert usage_of(world, "small")[0] == pytest.approx(1000)
    assert usage_of(world, "large")[0] == pytest.approx(3000)
    assert world.sample().node_cpu_milli[0] == pytest.approx(4000)


def test_what_one_does_not_use_the_others_may():
    pods = [
        make_sim_pod("idle", make_sim_container(cpu=100, cpu_request_milli=3000)),
        make_sim_pod("busy", make_sim_container(cpu=9000, cpu_request_milli=10)),
    ]
    world = make_world(*pods)
    world.advance(EPOCH_S + 60)

    assert usage_of(world, "busy")[0] > 3800


def test_usage_swings_within_the_day():
    container = make_sim_container(cpu=1000, diurnal_amplitude=0.5, diurnal_phase_s=0.0)
    world = make_world(make_sim_pod("p", container))
    by_hour = []
    for hour in range(24):
        world.advance(EPOCH_S + 3600 * hour + 600)
        by_hour.append((world.now_s % 86_400, usage_of(world, "p")[0]))

    ordered = [cpu for _, cpu in sorted(by_hour)]
    assert np.mean(ordered[4:8]) > 1300
    assert np.mean(ordered[16:20]) < 700


def test_usage_bursts():
    container = make_sim_container(cpu=100, burst_ratio=0.2, burst_factor=10.0)
    world = make_world(make_sim_pod("p", container))
    usages = []
    for window in range(200):
        world.advance(EPOCH_S + 300 * window + 100)
        usages.append(usage_of(world, "p")[0])

    bursts = np.array(usages) > 500
    assert 0.1 < bursts.mean() < 0.3


def test_starved_containers_crash_more():
    def n_crashes(n_pods):
        pods = [make_sim_pod(f"p{i}", make_sim_container(cpu=400)) for i in range(n_pods)]
        changes = make_world(*pods).advance(EPOCH_S + 3600)
        return len(only(changes, ch.ContainerExited)) / n_pods

    assert n_crashes(5) == 0
    assert n_crashes(40) > 0.5


# --- node faults and hidden traits


def test_a_flaky_node_crashes_its_containers():
    pods = [make_sim_pod(f"{node}-{i}", node=node) for node in ("n1", "n2") for i in range(20)]
    world = make_world(nodes=1, traits=traits(container_crash_per_hour=3.0))
    world.add_node(make_sim_node("n2"))
    for pod in pods:
        world.place(pod)

    exits = only(world.advance(EPOCH_S + 3600), ch.ContainerExited)

    assert 30 < len(exits) < 100  # 20 containers, 3 an hour each
    assert {e.pod.rpartition("-")[0] for e in exits} == {"n1"}


def test_a_failed_node_takes_its_pods_with_it_and_starts_them_again():
    world = make_world(make_sim_pod("p"))
    world.advance(EPOCH_S + 60)
    world.fail_node("n1", outage_s=120.0)
    changes = world.advance(EPOCH_S + 100)
    assert [type(c) for c in changes] == [ch.NodeFailed]
    assert not world.is_up("n1")
    assert world.sample().nodes == ()

    changes = world.advance(EPOCH_S + 300)

    assert changes[0] == ch.NodeRecovered(at_s=EPOCH_S + 180, node="n1")
    [exited] = only(changes, ch.ContainerExited)
    assert (exited.exit_code, exited.cause) == (255, "node_failed")
    [started] = only(changes, ch.ContainerStarted)
    assert started.restart_count == 1


def test_pods_placed_on_or_stopped_on_a_dead_node_wait_for_it():
    world = make_world(make_sim_pod("old"))
    world.advance(EPOCH_S + 60)
    world.fail_node("n1", outage_s=120.0)
    world.place(make_sim_pod("new"))
    world.stop("old", grace_s=5.0)
    assert only(world.advance(EPOCH_S + 170), ch.PodStopped) == []

    changes = world.advance(EPOCH_S + 300)

    assert [c.pod for c in only(changes, ch.PodStopped)] == ["old"]
    assert [c.pod for c in only(changes, ch.ContainerReady)] == ["new"]


def test_an_outage_interrupts_pulls_and_back_offs():
    image = make_sim_container(image="registry.example/big")
    world = make_world(
        make_sim_pod("pulling", image),
        make_sim_pod("crashing", make_sim_container(run_s=1.0, exit_code=1)),
        traits=traits(pull_bytes_per_s=1e6),
    )
    world.advance(EPOCH_S + 30)
    world.fail_node("n1", outage_s=60.0)

    changes = world.advance(EPOCH_S + 3000)

    assert {c.pod for c in only(changes, ch.ContainerStarted)} == {"pulling", "crashing"}


def test_failures_come_as_often_as_the_hazard_says():
    world = make_world(traits=traits(fail_per_hour=10.0, outage_s=1.0))

    failures = only(world.advance(EPOCH_S + 10 * 3600), ch.NodeFailed)

    assert 70 < len(failures) < 130


def test_of_five_drawn_nodes_one_is_flaky_and_one_is_noisy():
    for seed in range(5):
        specs = draw_nodes(5, seed=seed)

        assert sum(spec.traits.container_crash_per_hour > 1 for spec in specs) == 1
        assert sum(spec.traits.system_memory_bytes > 2 * GI for spec in specs) == 1


def test_most_workloads_use_far_less_than_they_request_and_some_use_more():
    drawn = [draw_traits(f"w{i}", seed=1) for i in range(2000)]
    cpu = np.array([each.cpu_ratio for each in drawn])
    grows = np.array([each.memory_growth_ratio_per_h > 0 for each in drawn])

    assert 0.75 < np.mean((cpu > 0.1) & (cpu < 0.7)) < 0.95
    assert 0.03 < np.mean(cpu > 1.0) < 0.12
    assert 0.15 < grows.mean() < 0.25


# --- determinism and laws


def busy_world(seed):
    world = World(seed=seed, start_s=EPOCH_S)
    for spec in draw_nodes(5, seed=seed):
        world.add_node(spec)
    for i in range(60):
        profile = draw_traits(f"w{i % 7}", seed=seed).profile(
            cpu_request_milli=400, memory_request_bytes=600 * MI
        )
        container = make_sim_container(
            profile=profile, image=f"image-{i % 7}", memory_limit_bytes=900 * MI
        )
        world.place(make_sim_pod(f"p{i}", container, node=f"n{i % 5 + 1}"))
    return world


def test_the_same_seed_and_calls_give_the_same_changes():
    first, second = busy_world(3), busy_world(3)

    assert first.advance(EPOCH_S + 7200) == second.advance(EPOCH_S + 7200)
    assert busy_world(4).advance(EPOCH_S + 7200) != busy_world(3).advance(EPOCH_S + 7200)


def test_how_time_is_cut_into_steps_does_not_matter():
    whole, pieces = busy_world(3), busy_world(3)
    expected = whole.advance(EPOCH_S + 1800)
    changes = []
    for step in range(600):
        changes += pieces.advance(EPOCH_S + 3 * (step + 1))

    assert changes == expected


def test_a_copied_world_lives_the_same_life():
    world = busy_world(5)
    world.advance(EPOCH_S + 600)
    twin = copy.deepcopy(world)

    assert twin.advance(EPOCH_S + 1200) == world.advance(EPOCH_S + 1200)


def test_a_pods_luck_does_not_depend_on_its_neighbours():
    def crashes(*others):
        pod = make_sim_pod("p", make_sim_container(cpu=10, memory_mi=10, crash_per_hour=5.0))
        changes = make_world(*others, pod).advance(EPOCH_S + 3600)
        return [c.at_s for c in only(changes, ch.ContainerExited) if c.pod == "p"]

    other = make_sim_pod("other", make_sim_container(cpu=10, memory_mi=10))
    assert crashes(other)[:2] == crashes()[:2] != []


@settings(max_examples=25, deadline=None)
@given(
    pods=st.lists(
        st.tuples(
            st.integers(0, 6000), st.integers(1, 1500), st.integers(0, 2000), st.integers(0, 800)
        ),
        max_size=12,
    ),
    noisy_mi=st.integers(0, 3000),
)
@example(pods=[], noisy_mi=3000)
def test_a_node_never_gives_more_than_it_has(pods, noisy_mi):
    world = make_world(
        memory_bytes=2 * GI,
        traits=traits(
            system_memory_bytes=noisy_mi * MI, system_cpu_milli=3000.0, system_swing_ratio=0.5
        ),
    )
    for i, (cpu, memory_mi, cpu_request, request_mi) in enumerate(pods):
        container = make_sim_container(
            cpu=cpu,
            memory_mi=memory_mi,
            cpu_request_milli=cpu_request,
            memory_request_bytes=request_mi * MI,
        )
        world.place(make_sim_pod(f"p{i}", container))

    for step in range(20):
        world.advance(EPOCH_S + 30 * step)
        sample = world.sample()

        assert sample.node_cpu_milli[0] <= 4000 + 1e-6
        assert sample.node_memory_bytes[0] <= 2 * GI
        assert sample.container_cpu_milli.sum() <= sample.node_cpu_milli[0] + 1e-6
