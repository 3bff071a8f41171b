"""How pods live in the world: images, starts, restarts, ends."""

import pytest

from scheduler.simulator import changes as ch
from scheduler.simulator.parameters import ImagePhysics
from scheduler.simulator.pulls import draw_image_size_bytes
from scheduler.simulator.world import WorldError
from tests.builders import EPOCH_S
from tests.simulator_world import (
    make_sim_container,
    make_sim_node,
    make_sim_pod,
    make_world,
    only,
    traits,
)


def test_a_pod_goes_from_sandbox_to_ready():
    world = make_world(make_sim_pod("web-1", make_sim_container(startup_s=5.0)))

    changes = world.advance(EPOCH_S + 60)

    assert [type(change) for change in changes] == [
        ch.SandboxReady,
        ch.ImagePullStarted,
        ch.ImagePulled,
        ch.ContainerStarted,
        ch.ContainerReady,
    ]
    started, ready = changes[-2:]
    assert ready.at_s - started.at_s == pytest.approx(5.0)


def test_a_slow_node_takes_longer_to_get_ready():
    pod = make_sim_pod("web-1", make_sim_container(startup_s=5.0))
    world = make_world(pod, traits=traits(speed=0.5))

    changes = world.advance(EPOCH_S + 60)

    [started], [ready] = only(changes, ch.ContainerStarted), only(changes, ch.ContainerReady)
    assert ready.at_s - started.at_s == pytest.approx(10.0)


def test_a_full_node_takes_longer_to_get_ready():
    busy = [make_sim_pod(f"busy-{i}", make_sim_container(cpu=900)) for i in range(4)]
    world = make_world(*busy)
    world.advance(EPOCH_S + 60)
    world.place(make_sim_pod("web-1", make_sim_container(startup_s=5.0)))

    changes = world.advance(EPOCH_S + 200)

    [started], [ready] = only(changes, ch.ContainerStarted), only(changes, ch.ContainerReady)
    assert ready.at_s - started.at_s > 15.0


def test_images_come_one_at_a_time_at_the_disks_pace():
    pods = [
        make_sim_pod(f"p{i}", make_sim_container(image=f"registry.example/{i}")) for i in range(2)
    ]
    world = make_world(*pods, traits=traits(pull_bytes_per_s=10e6))
    sizes = [draw_image_size_bytes(f"registry.example/{i}", law=ImagePhysics()) for i in range(2)]

    first, second = only(world.advance(EPOCH_S + 3000), ch.ImagePulled)

    assert first.took_s == pytest.approx(sizes[0] / 10e6)
    assert first.waited_s == 0
    assert second.took_s == pytest.approx(sizes[1] / 10e6)
    assert second.waited_s == pytest.approx(first.took_s)


def test_an_image_that_is_there_costs_nothing():
    world = make_world(make_sim_pod("p1"), traits=traits(pull_bytes_per_s=1e6))
    world.advance(EPOCH_S + 5000)
    world.place(make_sim_pod("p2"))

    changes = world.advance(EPOCH_S + 5100)

    assert only(changes, ch.ImagePullStarted) == []
    [pulled] = only(changes, ch.ImagePulled)
    assert (pulled.size_bytes, pulled.took_s) == (0, 0)


def test_images_that_no_pod_uses_give_way_when_the_disk_is_full():
    images = [f"registry.example/{i}" for i in range(3)]
    size_bytes = [draw_image_size_bytes(image, law=ImagePhysics()) for image in images]
    world = make_world(nodes=1, image_disk_bytes=size_bytes[1] + size_bytes[2])

    for index, image in enumerate(images):
        world.place(make_sim_pod(f"p{index}", make_sim_container(image=image)))
        world.advance(world.now_s + 100)
        world.remove(f"p{index}")

    assert list(world.images("n1")) == images[1:]


def test_an_image_that_no_registry_has_is_tried_again_ever_later():
    image = "registry.invalid/app:1"
    world = make_world(make_sim_pod("p", make_sim_container(image=image)))

    failures = only(world.advance(EPOCH_S + 1200), ch.ImagePullFailed)

    assert [f.retry_in_s for f in failures] == [10, 20, 40, 80, 160, 300, 300, 300]


def test_restarts_back_off_from_ten_seconds_to_five_minutes():
    pod = make_sim_pod("p", make_sim_container(run_s=1.0, exit_code=1))
    world = make_world(pod)

    changes = world.advance(EPOCH_S + 3600)

    delays = [change.delay_s for change in only(changes, ch.ContainerBackOff)]
    assert delays[:7] == [10, 20, 40, 80, 160, 300, 300]
    exits, starts = only(changes, ch.ContainerExited), only(changes, ch.ContainerStarted)
    assert starts[1].at_s - exits[0].at_s < 2  # the first restart does not wait
    assert starts[2].at_s - exits[1].at_s == pytest.approx(10.0)
    assert [s.restart_count for s in starts] == list(range(len(starts)))


def test_ten_good_minutes_forgive_all_crashes():
    pod = make_sim_pod("p", make_sim_container(run_s=700.0, exit_code=1))
    world = make_world(pod)

    changes = world.advance(EPOCH_S + 3600)

    assert len(only(changes, ch.ContainerExited)) >= 4
    assert only(changes, ch.ContainerBackOff) == []


@pytest.mark.parametrize(
    ("policy", "exit_code", "n_starts", "has_succeeded"),
    [
        pytest.param("Never", 0, 1, True, id="never, good end"),
        pytest.param("Never", 3, 1, False, id="never, bad end"),
        pytest.param("OnFailure", 0, 1, True, id="on failure, good end"),
        pytest.param("OnFailure", 3, None, None, id="on failure, bad end"),
        pytest.param("Always", 0, None, None, id="always"),
    ],
)
def test_the_restart_policy_decides_what_an_end_means(policy, exit_code, n_starts, has_succeeded):
    container = make_sim_container(run_s=5.0, exit_code=exit_code)
    world = make_world(make_sim_pod("p", container, restart_policy=policy))

    changes = world.advance(EPOCH_S + 100)

    finished = only(changes, ch.PodFinished)
    if n_starts is None:
        assert len(only(changes, ch.ContainerStarted)) > 1
        assert finished == []
    else:
        assert len(only(changes, ch.ContainerStarted)) == n_starts
        assert [f.has_succeeded for f in finished] == [has_succeeded]
        assert not world.has("p")


def test_work_takes_as_long_as_it_takes():
    world = make_world(make_sim_pod("job", make_sim_container(run_s=100.0), restart_policy="Never"))

    changes = world.advance(EPOCH_S + 300)

    [started], [exited] = only(changes, ch.ContainerStarted), only(changes, ch.ContainerExited)
    # 100 s of work beside a load of 100m on 4 cores: a little more than 100 s.
    assert exited.at_s - started.at_s == pytest.approx(100.0 / (1 - 100 / 4000), rel=0.02)


def test_work_slows_down_as_the_node_fills():
    def took_s(n_neighbours: int) -> float:
        job = make_sim_pod("job", make_sim_container(cpu=10, run_s=100.0), restart_policy="Never")
        others = [make_sim_pod(f"n{i}", make_sim_container(cpu=1000)) for i in range(n_neighbours)]
        changes = make_world(job, *others).advance(EPOCH_S + 3000)
        [started] = [s for s in only(changes, ch.ContainerStarted) if s.pod == "job"]
        [exited] = only(changes, ch.ContainerExited)
        return exited.at_s - started.at_s

    assert took_s(2) == pytest.approx(200.0, rel=0.1)  # 1/(1 - 0.5)
    assert took_s(3) == pytest.approx(400.0, rel=0.2)  # 1/(1 - 0.75)


def test_hungry_neighbours_slow_down_who_is_hungry():
    def took_s(hunger: float) -> float:
        container = make_sim_container(cpu=10, run_s=100.0, cache_hunger=hunger)
        job = make_sim_pod("job", container, restart_policy="Never")
        other = make_sim_pod("n", make_sim_container(cpu=2000, cache_hunger=1.0))
        changes = make_world(job, other).advance(EPOCH_S + 3000)
        return only(changes, ch.ContainerExited)[0].at_s

    assert took_s(1.0) > took_s(0.0) + 20


def test_init_containers_run_one_after_the_other_before_the_app():
    world = make_world(
        make_sim_pod(
            "p",
            make_sim_container("first", role="init", run_s=10.0),
            make_sim_container("second", role="init", run_s=10.0),
            make_sim_container("app"),
        )
    )

    changes = world.advance(EPOCH_S + 120)

    steps = [
        (type(c).__name__, c.container)
        for c in changes
        if isinstance(c, ch.ContainerStarted | ch.ContainerExited | ch.ContainerReady)
    ]
    assert steps == [
        ("ContainerStarted", "first"),
        ("ContainerExited", "first"),
        ("ContainerStarted", "second"),
        ("ContainerExited", "second"),
        ("ContainerStarted", "app"),
        ("ContainerReady", "app"),
    ]


def test_a_sidecar_starts_first_and_ends_with_the_job():
    world = make_world(
        make_sim_pod(
            "job",
            make_sim_container("proxy", role="sidecar"),
            make_sim_container("app", run_s=20.0),
            restart_policy="Never",
        )
    )

    changes = world.advance(EPOCH_S + 120)

    assert [c.container for c in only(changes, ch.ContainerStarted)] == ["proxy", "app"]
    assert [c.container for c in only(changes, ch.ContainerExited)] == ["app", "proxy"]
    assert only(changes, ch.PodFinished)[0].has_succeeded


def test_a_failing_init_container_fails_a_pod_that_never_restarts():
    world = make_world(
        make_sim_pod(
            "p",
            make_sim_container("init", role="init", run_s=1.0, exit_code=2),
            make_sim_container("app"),
            restart_policy="Never",
        )
    )

    changes = world.advance(EPOCH_S + 60)

    assert [c.has_succeeded for c in only(changes, ch.PodFinished)] == [False]
    assert [c.container for c in only(changes, ch.ContainerStarted)] == ["init"]


@pytest.mark.parametrize(
    ("stop_s", "took_s", "exit_code"),
    [pytest.param(2.0, 2.0, 0, id="in time"), pytest.param(99.0, 30.0, 137, id="killed")],
)
def test_a_pod_stops_within_its_grace_period(stop_s, took_s, exit_code):
    world = make_world(make_sim_pod("p", make_sim_container(stop_s=stop_s)))
    world.advance(EPOCH_S + 60)

    world.stop("p", grace_s=30.0)
    exited, stopped = world.advance(EPOCH_S + 120)

    assert stopped == ch.PodStopped(at_s=EPOCH_S + 60 + took_s, pod="p")
    assert exited.exit_code == exit_code
    assert not world.has("p")


def test_being_told_again_can_only_hasten_the_end():
    world = make_world(make_sim_pod("p", make_sim_container(stop_s=99.0)))
    world.advance(EPOCH_S + 60)
    world.stop("p", grace_s=30.0)
    world.advance(EPOCH_S + 65)
    world.stop("p", grace_s=60.0)
    world.stop("p", grace_s=1.0)

    [stopped] = only(world.advance(EPOCH_S + 120), ch.PodStopped)

    assert stopped.at_s == EPOCH_S + 66


def test_removed_pods_leave_no_trace():
    world = make_world(make_sim_pod("p"))
    world.remove("p")

    assert world.advance(EPOCH_S + 60) == []
    assert world.sample().containers == ()


def test_impossible_requests_are_refused():
    world = make_world(make_sim_pod("p"))

    with pytest.raises(WorldError, match="placed already"):
        world.place(make_sim_pod("p"))
    with pytest.raises(WorldError, match="no node 'nowhere'"):
        world.place(make_sim_pod("q", node="nowhere"))
    with pytest.raises(WorldError, match="no pod 'q'"):
        world.stop("q", grace_s=1)
    with pytest.raises(WorldError, match="exists"):
        world.add_node(make_sim_node("n1"))
    with pytest.raises(WorldError, match="backwards"):
        world.advance(EPOCH_S - 1)
