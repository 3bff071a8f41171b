"""Electing a leader by Lease, against an API server over real HTTP; time moves when told to."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from kube.client import Client
from scheduler.cluster.leader import LeaderElector
from scheduler.framework.leader_election import LeaderElectionConfiguration
from tests.fakes import Answer, FakeApiServer, refusal
from tests.simulator_program import serving

LEASES = "/apis/coordination.k8s.io/v1/leases"
KEY = "kube-system/ai-scheduler"
SETTINGS = LeaderElectionConfiguration(leader_elect=True)
"""15 s, 10 s and 2 s."""
DATE_S = 1_790_000_000.0


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def server():
    with FakeApiServer() as running:
        running.date_s = DATE_S
        yield running


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def candidate(server, clock):
    clients = []

    def make(identity):
        clients.append(Client.for_url(server.url, timeout_s=2.0))
        return LeaderElector(
            clients[-1],
            settings=SETTINGS,
            rng=random.Random(1),
            identity=identity,
            monotonic=clock,
        )

    yield make
    for client in clients:
        client.close()


def record(server):
    return server.objects(LEASES)[KEY]["spec"]


def write(server, **spec):
    """Write the lease as somebody else does."""
    metadata = {"name": "ai-scheduler", "namespace": "kube-system"}
    current = server.objects(LEASES).get(KEY, {"metadata": metadata})
    server.put(LEASES, {**current, "spec": {**current.get("spec", {}), **spec}})


def held_by(server, holder, *, for_s=15, **more):
    write(server, holderIdentity=holder, leaseDurationSeconds=for_s, leaseTransitions=3, **more)


def test_who_comes_first_creates_the_lease_and_leads(server, candidate):
    one = candidate("one")

    one.attempt()

    at = "2026-09-21T14:13:20.000000Z"
    lease = server.objects(LEASES)[KEY]
    times = {key: lease["spec"].pop(key) for key in ("acquireTime", "renewTime")}
    assert one.is_leader
    assert (lease["apiVersion"], lease["kind"]) == ("coordination.k8s.io/v1", "Lease")
    assert lease["spec"] == {
        "holderIdentity": "one",
        "leaseDurationSeconds": 15,
        "leaseTransitions": 0,
    }
    # The cluster's time, as far as it is known: the first answer tells it.
    assert times["acquireTime"][:16] == times["renewTime"][:16] == at[:16]


def test_of_many_that_want_it_at_once_one_gets_it(server, candidate):
    candidates = [candidate(f"c{i}") for i in range(6)]

    for _ in range(3):
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(lambda each: each.attempt(), candidates))

        assert [each.identity for each in candidates if each.is_leader] == [
            record(server)["holderIdentity"]
        ]


def test_renewing_moves_one_time_and_keeps_the_rest(server, candidate, clock):
    one = candidate("one")
    one.attempt()
    before = record(server)
    labelled = server.objects(LEASES)[KEY]
    labelled["metadata"]["labels"] = {"team": "blue"}
    server.put(LEASES, labelled)
    clock.now_s += 2
    server.date_s = DATE_S + 60

    one.attempt()

    after = server.objects(LEASES)[KEY]
    assert after["spec"]["acquireTime"] == before["acquireTime"]
    assert after["spec"]["renewTime"] > before["renewTime"]
    assert after["spec"]["leaseTransitions"] == 0
    assert after["metadata"]["labels"] == {"team": "blue"}


@pytest.mark.parametrize("renewed_at", ["1999-01-01T00:00:00.0Z", "2099-01-01T00:00:00.0Z"])
def test_anothers_lease_is_taken_when_we_saw_no_change_for_its_duration(
    server, candidate, clock, renewed_at
):
    held_by(server, "gone", renewTime=renewed_at)
    one = candidate("one")
    one.attempt()
    clock.now_s += 14.9

    one.attempt()
    assert not one.is_leader

    clock.now_s += 0.2
    one.attempt()
    assert one.is_leader
    assert record(server)["holderIdentity"] == "one"
    assert record(server)["leaseTransitions"] == 4


def test_a_lease_that_changes_is_left_to_its_holder(server, candidate, clock):
    one = candidate("one")
    for i in range(10):
        held_by(server, "alive", renewTime=f"2026-01-01T00:00:{i:02}.0Z")
        one.attempt()
        clock.now_s += 10

    assert not one.is_leader


def test_a_note_on_the_lease_is_no_renewal(server, candidate, clock):
    held_by(server, "gone")
    one = candidate("one")
    one.attempt()
    clock.now_s += 10
    write(server)  # a new version that says the same
    one.attempt()
    clock.now_s += 5.1

    one.attempt()

    assert one.is_leader


def test_a_released_lease_is_taken_at_once(server, candidate):
    one, two = candidate("one"), candidate("two")
    one.attempt()
    two.attempt()

    one.release()
    released = record(server)
    two.attempt()

    assert "holderIdentity" not in released
    assert released["leaseDurationSeconds"] == 1
    assert not one.is_leader
    assert two.is_leader
    assert record(server)["leaseTransitions"] == 1


@pytest.mark.parametrize("nobody", ["", None])
def test_a_lease_that_others_released_is_taken_at_once(server, candidate, nobody):
    held_by(server, nobody)
    one = candidate("one")

    one.attempt()

    assert one.is_leader


@pytest.mark.integration
def test_a_cluster_that_checks_leases_takes_all_that_is_written(clock):
    with serving("--nodes=1") as program, Client.for_url(program.url) as client:
        one, two = (
            LeaderElector(
                client, settings=SETTINGS, rng=random.Random(1), identity=name, monotonic=clock
            )
            for name in ("one", "two")
        )
        one.attempt()
        one.attempt()
        two.attempt()
        assert (one.is_leader, two.is_leader) == (True, False)

        one.release()
        two.attempt()
        assert (one.is_leader, two.is_leader) == (False, True)


def test_who_does_not_lead_releases_nothing(server, candidate):
    held_by(server, "other")
    one = candidate("one")
    one.attempt()

    one.release()

    assert record(server)["holderIdentity"] == "other"


def test_deciding_ends_before_others_may_begin_whatever_hangs(server, candidate, clock):
    one = candidate("one")
    one.attempt()

    clock.now_s += 11.9
    assert one.is_leader
    clock.now_s += 0.2
    assert not one.is_leader


def test_who_cannot_renew_in_time_has_lost_the_lease(server, candidate, clock):
    one = candidate("one")
    one.attempt()
    server.fail_next(refusal(500, "no"), times=100)
    waits = []

    while not one.lost.is_set():
        clock.now_s += (wait_s := one.attempt())
        waits.append(wait_s)

    assert not one.is_leader
    assert max(waits[:-1]) <= 2.0
    assert sum(waits[:-1]) == pytest.approx(12.0)


def test_a_failure_that_passes_in_time_costs_nothing(server, candidate, clock):
    one = candidate("one")
    one.attempt()
    server.fail_next(refusal(503, "no"))
    server.fail_next(Answer(None))
    for _ in range(3):
        clock.now_s += 2
        one.attempt()

    clock.now_s += 11
    assert one.is_leader
    assert not one.lost.is_set()


def test_who_finds_anothers_name_stops_at_once(server, candidate, clock):
    one = candidate("one")
    one.attempt()
    held_by(server, "two")
    clock.now_s += 2

    one.attempt()

    assert one.lost.is_set()
    assert not one.is_leader
    assert record(server)["holderIdentity"] == "two"


def test_a_lease_deleted_under_its_holder_is_written_anew(server, candidate, clock):
    one = candidate("one")
    one.attempt()
    server.remove(LEASES, KEY)
    clock.now_s += 2

    one.attempt()

    assert one.is_leader
    assert record(server)["holderIdentity"] == "one"


def test_a_lease_deleted_under_its_holder_is_written_anew_though_the_server_calls_it_a_failure(
    server, candidate, clock
):
    one = candidate("one")
    one.attempt()
    server.remove(LEASES, KEY)
    server.fail_next(refusal(500, "resourceVersion should not be set on objects to be created"))
    clock.now_s += 2

    one.attempt()

    assert one.is_leader
    assert record(server)["holderIdentity"] == "one"


def test_an_answer_lost_on_the_way_is_noticed(server, candidate, clock):
    one = candidate("one")
    held_by(server, "one", acquireTime="2026-01-01T00:00:00.0Z")  # it was written, but not heard

    one.attempt()

    assert one.is_leader
    assert record(server)["leaseTransitions"] == 3
    assert record(server)["acquireTime"] == "2026-01-01T00:00:00.0Z"


def test_a_server_that_asks_to_wait_is_left_alone_for_so_long(server, candidate):
    server.fail_next(refusal(429, "wait", retry_after="7"))

    assert candidate("one").attempt() >= 7.0


def test_those_that_wait_do_not_come_in_step(server, candidate):
    held_by(server, "other")
    one = candidate("one")

    waits = {one.attempt() for _ in range(20)}

    assert len(waits) == 20
    assert all(2.0 <= wait_s <= 4.4 for wait_s in waits)


def test_two_programs_have_two_names(server):
    with Client.for_url(server.url) as client:
        names = {
            LeaderElector(client, settings=SETTINGS, rng=random.Random(1)).identity
            for _ in range(2)
        }

    assert len(names) == 2
