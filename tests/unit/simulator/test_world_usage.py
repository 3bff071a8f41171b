"""What is used, wished for and hidden: recordings, lack of cpu, habits and hardware that change."""

from dataclasses import replace

import numpy as np
import pytest

from scheduler.simulator import changes as ch
from scheduler.simulator.hardware import NodeNature
from scheduler.simulator.natures import Nature
from scheduler.simulator.parameters import CpuPhysics, MemoryPhysics, Physics, PodPhysics
from scheduler.simulator.resources import PODS
from scheduler.simulator.usage import UsageProfile, UsageSeries, apply_annotation
from scheduler.simulator.world import World, WorldError
from tests.builders import EPOCH_S
from tests.simulator_world import (
    MI,
    Simulation,
    container_manifest,
    make_sim_container,
    make_sim_node,
    make_sim_pod,
    make_world,
    only,
    pod_manifest,
    traits,
)

HOUR_S = 3600.0
STEADY = Physics(
    cpu=CpuPhysics(slow_noise_ratio=0.0, fast_noise_ratio=0.0),
    memory=MemoryPhysics(noise_ratio=0.0),
)
"""Usage without noise, so that tests can say what it must be."""


def steady_world(*pods, physics=STEADY, **node_fields):
    world = World(seed=0, start_s=EPOCH_S, physics=physics)
    world.add_node(make_sim_node("n1", **node_fields))
    for pod in pods:
        world.place(pod)
    return world


def series(*ratios, memory=None):
    memory = memory or [1.0] * len(ratios)
    return UsageSeries(
        cpu_ratio=np.array(ratios, dtype=np.float32),
        memory_ratio=np.array(memory, dtype=np.float32),
    )


def app_of(world, uid="web-1"):
    sample = world.sample()
    return sample, sample.containers.index((uid, "app"))


def cpu_milli(world, uid="web-1"):
    sample, index = app_of(world, uid)
    return sample.container_cpu_milli[index]


def memory_mi(world, uid="web-1"):
    sample, index = app_of(world, uid)
    return sample.container_memory_bytes[index] / MI


# --- recordings


def test_recorded_usage_is_lived_through_slot_by_slot_and_begins_anew():
    recorded = series(0.25, 0.5, 2.0, memory=[0.5, 1.0, 1.5])
    pod = make_sim_pod("web-1", make_sim_container(cpu=100, memory_mi=100, series=recorded))
    world = steady_world(pod)
    first_slot_s = EPOCH_S // 300 * 300 + 300

    seen = []
    for slot in range(4):
        world.advance(first_slot_s + 300 * slot + 150)
        seen.append((cpu_milli(world), memory_mi(world)))

    slots = [int(first_slot_s // 300 + slot) % 3 for slot in range(4)]
    want = [([25.0, 50.0, 200.0][slot], [50.0, 100.0, 150.0][slot]) for slot in slots]
    assert seen == [pytest.approx(each) for each in want]
    assert seen[0] == seen[3]


def test_recorded_memory_beyond_the_limit_is_killed_for():
    recorded = series(1.0, 1.0, memory=[0.5, 3.0])
    app = make_sim_container(memory_mi=100, memory_limit_bytes=200 * MI, series=recorded)
    world = steady_world(make_sim_pod("web-1", app))

    exits = only(world.advance(EPOCH_S + 1800), ch.ContainerExited)

    assert exits
    assert {each.cause for each in exits} == {"limit"}


def test_an_annotation_that_fixes_usage_overrides_a_recording():
    recorded = UsageProfile(cpu_milli=100, memory_bytes=100.0, series=series(1.0, 3.0))

    fixed = apply_annotation(recorded, '{"memory": "50"}')
    untouched = apply_annotation(recorded, '{"startup_s": 2}')

    assert (fixed.series, fixed.memory_bytes, fixed.cpu_milli) == (None, 50.0, 200.0)
    assert untouched.series is recorded.series


# --- lack of cpu


def test_cpu_that_a_limit_keeps_back_is_told():
    app = make_sim_container(cpu=400, cpu_limit_milli=100)
    world = steady_world(make_sim_pod("web-1", app))

    world.advance(EPOCH_S + HOUR_S)

    sample, index = app_of(world)
    ran_s = sample.at_s - sample.container_started_at_s[index]
    assert sample.container_lacking_ratio[index] == pytest.approx(0.75)
    assert sample.container_lacking_core_s[index] == pytest.approx(0.3 * ran_s)
    assert world.lacking_core_s == pytest.approx(0.3 * ran_s)


def test_cpu_that_neighbours_take_is_told():
    pods = [
        make_sim_pod(f"p{i}", make_sim_container(cpu=3000, cpu_request_milli=100)) for i in range(2)
    ]
    world = steady_world(
        *pods, cpu_milli=4000, physics=Physics(cpu=replace_cpu(starved_crash_per_hour=0.0))
    )

    world.advance(EPOCH_S + HOUR_S)

    sample = world.sample()
    assert sample.container_throttled_ratio == pytest.approx([0.0, 0.0])  # there is no limit
    assert sample.container_lacking_ratio == pytest.approx([1 / 3, 1 / 3])
    assert sample.container_lacking_core_s.sum() == pytest.approx(world.lacking_core_s)


def test_who_gets_what_it_wishes_lacks_nothing():
    world = steady_world(make_sim_pod("web-1", make_sim_container(cpu=100)))

    world.advance(EPOCH_S + HOUR_S)

    assert world.lacking_core_s == 0.0
    assert world.sample().container_lacking_core_s == pytest.approx([0.0])


def test_the_worlds_lack_of_cpu_survives_restarts_and_ends():
    app = make_sim_container(cpu=400, cpu_limit_milli=100, crash_per_hour=2.0)
    world = steady_world(make_sim_pod("web-1", app))
    before, seen = 0.0, []

    for hour in range(1, 4):
        world.advance(EPOCH_S + hour * HOUR_S)
        seen.append(world.lacking_core_s - before)
        before = world.lacking_core_s
    world.remove("web-1")
    world.advance(EPOCH_S + 4 * HOUR_S)

    assert min(seen) > 0.3 * 0.9 * HOUR_S
    assert world.lacking_core_s == before


# --- habits that change


def test_habits_change_without_a_restart():
    world = steady_world(make_sim_pod("web-1", make_sim_container(cpu=100, memory_mi=100)))
    world.advance(EPOCH_S + HOUR_S)
    core_s = app_of(world)[0].container_cpu_core_s[0]

    world.set_profiles("web-1", {"app": UsageProfile(cpu_milli=300, memory_bytes=200 * MI)})
    changes = world.advance(EPOCH_S + HOUR_S + 60)

    assert changes == []
    assert cpu_milli(world) == pytest.approx(300)
    assert memory_mi(world) == pytest.approx(200)
    assert app_of(world)[0].container_cpu_core_s[0] > core_s  # the counters count on


def test_what_memory_has_grown_by_stays_when_its_growth_changes():
    app = make_sim_container(memory_mi=100, memory_growth_bytes_per_h=60.0 * MI)
    world = steady_world(make_sim_pod("web-1", app))
    world.advance(EPOCH_S + 2 * HOUR_S)
    before = memory_mi(world)

    faster = replace(app.profile, memory_growth_bytes_per_h=600.0 * MI)
    world.set_profiles("web-1", {"app": faster})
    world.advance(EPOCH_S + 2 * HOUR_S + 60)

    assert before == pytest.approx(220, abs=2)
    assert memory_mi(world) == pytest.approx(before + 10, abs=2)


def test_only_pods_that_are_there_change_their_habits():
    world = make_world(make_sim_pod("web-1"))

    with pytest.raises(WorldError, match="web-2"):
        world.set_profiles("web-2", {})


class OneLevel:
    """All containers use the same, as the test says."""

    def __init__(self):
        self.cpu_milli = 100.0

    def profile(self, *, pod, workload, container, cpu_request_milli, memory_request_bytes):
        return UsageProfile(cpu_milli=self.cpu_milli, memory_bytes=50.0 * MI)


def test_a_cluster_asks_its_usage_model_and_asks_anew_when_told():
    model = OneLevel()
    simulation = Simulation(usage=model, physics=STEADY)
    simulation.create(PODS, pod_manifest("web-1", node="n1"))
    simulation.run(120)
    world, uid = simulation.cluster.world, simulation.pod("web-1")["metadata"]["uid"]
    before = cpu_milli(world, uid)

    model.cpu_milli = 700.0
    simulation.run(60)
    unasked = cpu_milli(world, uid)
    simulation.cluster.refresh_usage()
    simulation.run(60)

    assert (before, unasked) == (pytest.approx(100), pytest.approx(100))
    assert cpu_milli(world, uid) == pytest.approx(700)
    [status] = simulation.pod("web-1")["status"]["containerStatuses"]
    assert status["restartCount"] == 0


def test_what_a_usage_model_knows_is_on_no_object():
    simulation = Simulation(usage=OneLevel())
    written = []
    simulation.store.on_change(lambda change: written.append(str(change.new)))
    simulation.create(
        PODS,
        pod_manifest("web-1", node="n1", containers=[container_manifest(resources={})]),
    )
    simulation.run(120)

    assert written
    assert not any("simulator.ai-scheduler" in text for text in written)


# --- hardware that changes


def test_a_node_becomes_slow_at_once():
    world = make_world(make_sim_pod("web-1", make_sim_container(cpu=100)))
    world.advance(EPOCH_S + HOUR_S)

    world.set_traits("n1", traits(speed=0.5))
    world.place(make_sim_pod("web-2", make_sim_container(startup_s=5.0, cpu=100)))
    changes = world.advance(EPOCH_S + HOUR_S + 60)

    [started], [ready] = only(changes, ch.ContainerStarted), only(changes, ch.ContainerReady)
    assert ready.at_s - started.at_s > 10.0


def many_nodes(n_nodes, *, hidden):
    world = World(seed=0, start_s=EPOCH_S, physics=Physics(tick_s=600.0))  # nothing runs there
    for index in range(n_nodes):
        world.add_node(make_sim_node(f"n{index + 1}", traits=hidden))
    return world


def failures_of(world, *, until_s):
    return len(only(world.advance(until_s), ch.NodeFailed))


def test_a_node_begins_to_fail_and_stops_failing():
    world = many_nodes(40, hidden=traits(fail_per_hour=0.0, outage_s=60.0))
    day_s = 24 * HOUR_S

    counts = [failures_of(world, until_s=EPOCH_S + day_s)]
    for index, per_hour in enumerate((0.5, 0.0)):
        for node in range(40):
            world.set_traits(f"n{node + 1}", traits(fail_per_hour=per_hour, outage_s=60.0))
        counts.append(failures_of(world, until_s=EPOCH_S + (index + 2) * day_s))

    assert counts[0] == 0
    assert counts[1] == pytest.approx(40 * 12, rel=0.2)
    assert counts[2] == 0


def test_setting_the_same_traits_again_changes_no_fate():
    wear = traits(fail_per_hour=0.2, outage_s=300.0)
    left_alone, touched = (many_nodes(5, hidden=wear) for _ in range(2))

    expected = left_alone.advance(EPOCH_S + 48 * HOUR_S)
    found = []
    for hour in range(48):
        for node in range(5):
            touched.set_traits(f"n{node + 1}", wear)
        found += touched.advance(EPOCH_S + (hour + 1) * HOUR_S)

    assert len(expected) > 10
    assert [(type(c), c.node) for c in found] == [(type(c), c.node) for c in expected]
    assert [c.at_s for c in found] == pytest.approx([c.at_s for c in expected])


def test_a_cluster_changes_a_nodes_traits_and_names_those_that_are_not_there():
    simulation = Simulation()

    simulation.cluster.set_node_traits("n1", traits(fail_per_hour=3600.0, outage_s=10.0))
    simulation.run(120)

    assert "Rebooted" in simulation.reasons("n1")
    with pytest.raises(WorldError, match="n9"):
        simulation.cluster.set_node_traits("n9", traits())


# --- natures


def test_a_nature_draws_each_trait_by_a_luck_of_its_own():
    one = Nature(cpu_ratio=0.5).traits("default/web", seed=1)
    other = Nature(cpu_ratio=0.9).traits("default/web", seed=1)

    assert (one.cpu_ratio, other.cpu_ratio) == (0.5, 0.9)
    assert replace(one, cpu_ratio=0.9) == other
    assert one != Nature(cpu_ratio=0.5).traits("default/api", seed=1)


def test_the_usual_nature_uses_as_little_as_was_recorded():
    drawn = [Nature().traits(f"default/w{i}", seed=3) for i in range(500)]

    assert np.mean([each.cpu_ratio for each in drawn]) == pytest.approx(0.13, abs=0.03)
    assert all(0 <= each.diurnal_amplitude <= 0.95 for each in drawn)
    assert all(each.burst_factor >= 1 for each in drawn)


@pytest.mark.parametrize(
    ("fields", "name"),
    [({"cpu_ratio": -1.0}, "cpu_ratio"), ({"burst_factor": 0.5}, "burst_factor")],
)
def test_a_nature_that_cannot_be_is_refused_by_name(fields, name):
    with pytest.raises(ValueError, match=name):
        Nature(**fields)


def test_a_node_nature_gives_traits_in_proportion_to_the_nodes_size():
    nature = NodeNature(system_cpu_milli=100.0, system_cpu_ratio=0.25, speed=0.8)

    found = nature.traits("n1", seed=0, cpu_milli=4000, memory_bytes=2**33)

    assert found.system_cpu_milli == 1100.0
    assert found.speed == 0.8
    with pytest.raises(ValueError, match="speed"):
        NodeNature(speed=0.0)


# --- parameters


def replace_cpu(**fields):
    return CpuPhysics(slow_noise_ratio=0.0, fast_noise_ratio=0.0, **fields)


def test_constants_are_what_the_scenario_says():
    world = steady_world(physics=Physics(pods=PodPhysics(sandbox_s=30.0)))
    world.place(make_sim_pod("web-1"))

    [ready] = only(world.advance(EPOCH_S + 60), ch.SandboxReady)

    assert ready.at_s == EPOCH_S + 30


def test_a_longer_tick_looks_more_seldom():
    world = steady_world(make_sim_pod("web-1"), physics=Physics(tick_s=60.0))

    world.advance(EPOCH_S + 3601)

    assert world.sample().at_s % 60 == 0
