"""What users do: drawn by the seed and by names, whatever the cluster makes of it."""

import json
import math

import numpy as np
import pytest

from kube.edge.settings import Interval
from kube.instants import parse_rfc3339
from scheduler.simulator.draws import Distribution
from scheduler.simulator.experiments.users import Users
from scheduler.simulator.experiments.workload import HiddenUsage, Member
from scheduler.simulator.natures import Nature
from scheduler.simulator.usage_traces import Recording, UsageLibrary
from tests.unit.simulator.experiments.worlds import (
    HOUR_S,
    make_job,
    make_scenario,
    make_service,
)

DAY_S = 24 * HOUR_S
START_S = parse_rfc3339("2026-03-02T00:00:00Z")


class Door:
    """Notes what users write, and when."""

    def __init__(self):
        self.at_s = START_S
        self.written = []

    def now_s(self):
        return self.at_s

    def post(self, path, *, body):
        self.written.append((self.at_s, "POST", path, json.loads(body)))

    def patch(self, path, *, body, content_type):
        assert content_type == "application/merge-patch+json"
        self.written.append((self.at_s, "PATCH", path, json.loads(body)))


def live(scenario, *, seed=1, for_s=DAY_S):
    """Let users act at the times that they name, and tell what they wrote."""
    users, door = Users(scenario, seed=seed, start_s=START_S), Door()
    users.act(door)
    while users.next_at_s <= START_S + for_s:
        door.at_s = users.next_at_s
        users.act(door)
    return door.written


def pods(written):
    return [(at_s, body) for at_s, _, path, body in written if path.endswith("/pods")]


def requests(member):
    return member.cpu_request_milli, member.memory_request_bytes


def test_the_same_seed_gives_the_same_work_to_the_last_byte_and_another_does_not():
    scenario = make_scenario(
        services=(make_service(rollout_every=Interval(HOUR_S)),), jobs=(make_job(),)
    )

    assert live(scenario, seed=1) == live(scenario, seed=1)
    assert live(scenario, seed=1) != live(scenario, seed=2)


def test_pods_say_and_ask_what_their_group_does():
    job = make_job(
        per_hour=60.0,
        priority=5,
        labels={"example.com/tier": "back", "app": "mine"},
        annotations={"example.com/note": "a"},
        extended_requests={"example.com/gpu": 2},
    )

    _, body = pods(live(make_scenario(jobs=(job,)), for_s=HOUR_S))[0]

    resources = body["spec"]["containers"][0]["resources"]
    assert body["metadata"]["labels"]["example.com/tier"] == "back"
    assert body["metadata"]["labels"]["app"].startswith("batch-")
    assert body["metadata"]["annotations"] == {"example.com/note": "a", "priority": "5"}
    assert resources["requests"]["example.com/gpu"] == "2"
    assert resources["limits"] == {"example.com/gpu": "2"}


def test_arrivals_do_not_hang_on_how_often_users_are_asked():
    scenario = make_scenario(jobs=(make_job(per_hour=10.0),))
    users, door = Users(scenario, seed=1, start_s=START_S), Door()
    for minute in range(24 * 60 + 1):
        door.at_s = START_S + 60.0 * minute
        users.act(door)
    late = [body["metadata"]["name"] for _, body in pods(door.written)]
    exact = [body["metadata"]["name"] for _, body in pods(live(scenario))]

    assert set(late[:10]) == set(exact[:10])


def test_a_service_is_a_deployment_from_the_beginning():
    [(at_s, verb, path, body)] = live(
        make_scenario(
            services=(
                make_service(
                    kinds=1, replicas=4.0, priority=7, pod_spec={"nodeSelector": {"disk": "ssd"}}
                ),
            )
        )
    )

    assert (at_s, verb, path) == (START_S, "POST", "/apis/apps/v1/namespaces/default/deployments")
    assert body["metadata"]["name"] == "web-1"
    assert body["spec"]["replicas"] == 4
    template = body["spec"]["template"]
    assert template["metadata"]["annotations"] == {"priority": "7"}
    assert template["spec"]["schedulerName"] == "ai-scheduler"
    assert template["spec"]["nodeSelector"] == {"disk": "ssd"}
    [container] = template["spec"]["containers"]
    assert container["image"] == "registry.example/web-1:1"
    assert container["resources"] == {"requests": {"cpu": "250m", "memory": str(512 * 2**20)}}


def test_rollouts_come_about_as_often_as_said_and_count_versions():
    service = make_service(kinds=10, rollout_every=Interval(6 * HOUR_S))
    written = live(make_scenario(services=(service,)), for_s=10 * DAY_S)
    rollouts = [(path, body) for _, verb, path, body in written if verb == "PATCH"]
    images = [
        body["spec"]["template"]["spec"]["containers"][0]["image"]
        for path, body in rollouts
        if path.endswith("/web-3")
    ]

    assert len(rollouts) == pytest.approx(400, abs=4 * math.sqrt(400))
    assert images == [f"registry.example/web-3:{number + 2}" for number in range(len(images))]
    assert len({at_s for at_s, verb, *_ in written if verb == "PATCH"}) == len(rollouts)


@pytest.mark.parametrize(
    ("burst", "swing"),
    [
        pytest.param(1.0, 0.0, id="one by one"),
        pytest.param(Distribution(choice=(1.0, 1.0, 4.0)), 0.0, id="in bursts"),
        pytest.param(1.0, 0.8, id="by day"),
    ],
)
def test_as_many_pods_arrive_as_said(burst, swing):
    job = make_job(per_hour=20.0, burst=burst, diurnal_amplitude=swing)
    arrived = pods(live(make_scenario(jobs=(job,)), for_s=5 * DAY_S))

    largest = 1 if burst == 1.0 else 4
    assert len(arrived) == pytest.approx(2400, abs=4 * math.sqrt(2400 * largest))


def test_more_pods_arrive_by_day_than_by_night():
    job = make_job(per_hour=60.0, diurnal_amplitude=0.8)
    hours = [
        ((at_s % DAY_S) / HOUR_S) for at_s, _ in pods(live(make_scenario(jobs=(job,)), for_s=DAY_S))
    ]
    by_day = sum(8 <= hour < 20 for hour in hours)

    # The mean of 1 + 0.8 cos over the half of the day about its peak is 1 + 0.8 · 2/π.
    assert by_day / len(hours) == pytest.approx((1 + 0.8 * 2 / math.pi) / 2, abs=0.05)


def test_arrivals_keep_to_the_hours_of_the_day_that_are_said():
    hourly = (0.0,) * 6 + (3.0,) * 6 + (1.0,) * 12
    job = make_job(per_hour=50.0, hourly=hourly)
    arrived = pods(live(make_scenario(jobs=(job,)), for_s=4 * DAY_S))
    hours = np.array([at_s % DAY_S // HOUR_S for at_s, _ in arrived])

    assert len(arrived) == pytest.approx(4800, abs=4 * math.sqrt(4800))
    assert not (hours < 6).any()
    assert np.mean(hours < 12) == pytest.approx(0.6, abs=4 * math.sqrt(0.24 / 4800))


def test_pods_of_a_burst_come_at_one_instant_and_are_of_one_kind():
    arrived = pods(live(make_scenario(jobs=(make_job(burst=3.0),)), for_s=HOUR_S))
    bursts = {}
    for at_s, body in arrived:
        bursts.setdefault(at_s, []).append(body["metadata"]["labels"]["app"])

    assert len(bursts) > 5
    assert {len(kinds) for kinds in bursts.values()} == {3}
    assert {len(set(kinds)) for kinds in bursts.values()} == {1}


def test_all_pods_of_a_kind_belong_to_one_job_and_end_for_good():
    arrived = pods(live(make_scenario(jobs=(make_job(),)), for_s=3 * HOUR_S))
    owners = {}
    for _, body in arrived:
        [owner] = body["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["controller"]) == ("Job", True)
        assert body["spec"]["restartPolicy"] == "Never"
        owners.setdefault(body["metadata"]["labels"]["app"], set()).add(owner["uid"])

    assert set(owners) == {"batch-1", "batch-2"}
    assert all(len(uids) == 1 for uids in owners.values())
    assert len(set.union(*owners.values())) == 2
    assert len({body["metadata"]["name"] for _, body in arrived}) == len(arrived)


def test_a_job_that_never_arrives_is_allowed():
    users = Users(make_scenario(jobs=(make_job(per_hour=0.0),)), seed=1, start_s=START_S)

    assert users.next_at_s == math.inf


def test_another_group_more_leaves_the_others_as_they_were():
    job, more = make_job(), make_job("more", per_hour=200.0)
    alone = pods(live(make_scenario(jobs=(job,))))
    beside = pods(live(make_scenario(jobs=(more, job), services=(make_service(),))))

    assert [each for each in beside if each[1]["metadata"]["labels"]["app"][:5] == "batch"] == alone


def test_a_limit_is_never_below_its_request():
    group = make_service(
        cpu_request_milli=100.0,
        memory_request_mib=64.0,
        cpu_limit_ratio=0.5,
        memory_limit_ratio=Distribution(uniform=(1.0, 3.0)),
    )
    member = Member.of(group, 1, seed=1)

    assert member.cpu_limit_milli == 100
    assert 64 * 2**20 <= member.memory_limit_bytes <= 3 * 64 * 2**20
    limits = member.pod_spec(version=1)["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "100m", "memory": str(member.memory_limit_bytes)}


def test_a_hidden_nature_has_no_say_in_what_is_requested():
    drawn = {
        "cpu_request_milli": Distribution(uniform=(100.0, 900.0)),
        "memory_request_mib": Distribution(uniform=(100.0, 900.0)),
    }
    tame = [Member.of(make_service(**drawn), i, seed=1) for i in range(5)]
    wild = [
        Member.of(make_service(**drawn, nature=Nature(cpu_ratio=4.0)), i, seed=1) for i in range(5)
    ]

    assert [requests(m) for m in wild] == [requests(m) for m in tame]
    assert len({requests(m) for m in tame}) == 5


def profile(usage, workload="default/web-1", *, pod="default/web-1-a"):
    return usage.profile(
        pod=pod,
        workload=workload,
        container="app/registry.example/web-1:1",
        cpu_request_milli=1000,
        memory_request_bytes=2**30,
    )


def test_usage_is_what_the_nature_says_of_the_request_until_it_changes():
    group = make_service(nature=Nature(cpu_ratio=0.5, memory_ratio=2.0, crash_per_hour=3.0))
    usage = HiddenUsage([Member.of(group, 1, seed=1)], seed=1)
    before = profile(usage)
    usage.change("web", Nature(cpu_ratio=1.5, memory_ratio=2.0, crash_per_hour=0.0))
    after = profile(usage)

    assert (before.cpu_milli, before.memory_bytes, before.crash_per_hour) == (500.0, 2.0**31, 3.0)
    assert (after.cpu_milli, after.memory_bytes, after.crash_per_hour) == (1500.0, 2.0**31, 0.0)
    assert after.startup_s == before.startup_s
    assert math.isinf(before.run_s)


def test_replicas_behave_alike_but_pods_of_a_job_have_work_of_their_own():
    job = make_job(run_s=Distribution(uniform=(10.0, 1000.0)), nature=Nature(cpu_ratio=0.5))
    usage = HiddenUsage([Member.of(job, 1, seed=1)], seed=1)
    one = profile(usage, "default/batch-1", pod="default/batch-1-00001-0")
    same = profile(usage, "default/batch-1", pod="default/batch-1-00001-0")
    other = profile(usage, "default/batch-1", pod="default/batch-1-00002-0")

    assert one == same
    assert one.run_s != other.run_s
    assert (one.cpu_milli, one.startup_s) == (other.cpu_milli, other.startup_s)


def test_what_is_none_of_the_scenarios_uses_what_is_usual():
    usage = HiddenUsage([Member.of(make_service(), 1, seed=1)], seed=1)

    assert profile(usage, "default/stranger").cpu_milli > 0


def recorded(cpu, memory):
    cpu, memory = (np.array(each, dtype=np.float32) for each in (cpu, memory))
    return UsageLibrary(
        [Recording("a.csv: vm-1", cpu, memory, midnight_slot=0, has_cpu=True, has_memory=True)]
    )


def test_recorded_usage_keeps_its_own_level_where_the_scenario_sets_none():
    library = recorded([0.1, 0.3], [0.2, 0.4])
    usage = HiddenUsage([Member.of(make_service(), 1, seed=1)], seed=1, library=library)
    lived = profile(usage)

    assert lived.series is not None
    assert (lived.cpu_milli, lived.memory_bytes) == (1000.0, 2.0**30)


def test_recorded_usage_is_scaled_to_the_level_that_a_scenario_sets():
    library = recorded([0.1, 0.3], [0.2, 0.4])
    group = make_service(nature=Nature(cpu_ratio=0.8))
    usage = HiddenUsage([Member.of(group, 1, seed=1)], seed=1, library=library)
    lived = profile(usage)

    assert lived.cpu_milli * float(lived.series.cpu_ratio.mean()) == pytest.approx(800.0)
    assert lived.memory_bytes == 2.0**30


def test_a_recording_that_idles_is_not_scaled_to_peaks_beyond_reason():
    library = recorded([0.0] * 99 + [0.5], [0.1] * 100)
    group = make_service(nature=Nature(cpu_ratio=0.8))
    usage = HiddenUsage([Member.of(group, 1, seed=1)], seed=1, library=library)
    lived = profile(usage)

    assert lived.cpu_milli * 0.5 == pytest.approx(4 * 800.0)
