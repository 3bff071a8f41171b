"""DefaultPreemption: whose room is made free, and for whom (more in tests/conformance)."""

import random
from dataclasses import replace

from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import FailedSearch
from scheduler.framework.nominations import Nominations
from scheduler.framework.runtime import FilterRun
from scheduler.framework.standing import Standings
from scheduler.plugins.default_preemption import DefaultPreemption, DefaultPreemptionArgs
from tests.unit.scheduler.worlds import make_facts, make_pending, make_profile, make_snapshot

PROFILE = make_profile()


def make_plugin():
    return DefaultPreemption(DefaultPreemptionArgs(min_candidate_nodes_absolute=3))


def search_for(pod, *, snapshot, nominations, standings=None):
    """Run the filters, and give what PostFilter would be told."""
    standing = None if standings is None else standings.of(pod, snapshot=snapshot)
    run = FilterRun(
        PROFILE,
        state=CycleState(),
        pod=pod,
        snapshot=snapshot,
        nominations=nominations,
        standing=standing,
    )
    found = run.run()
    return FailedSearch(
        snapshot=snapshot,
        found=found,
        refilter=run.refilter,
        afresh=run.afresh,
        nominations=nominations,
        now_s=0.0,
        signature=run.signature,
    )


def judge(plugin, pod, search):
    result = plugin.post_filter(CycleState(), pod=pod, search=search)
    return result.node, [victim.name for victim in result.victims], result.status


def test_evicts_the_pods_of_least_priority_and_no_more_than_needed():
    low = [make_pending(f"low-{i}", cpu_milli=1000, priority=i) for i in range(4)]
    snapshot = make_snapshot(make_facts("n1"), pods=[(pod, "n1") for pod in low])
    pod = make_pending("urgent", cpu_milli=2000, priority=10)

    search = search_for(pod, snapshot=snapshot, nominations=Nominations())

    assert judge(make_plugin(), pod, search)[:2] == ("n1", ["low-1", "low-0"])


def test_who_may_not_preempt_is_told_so():
    low = make_pending("low", cpu_milli=4000)
    snapshot = make_snapshot(make_facts("n1"), pods=[(low, "n1")])
    pod = make_pending("polite", priority=10, may_preempt=False)

    search = search_for(pod, snapshot=snapshot, nominations=Nominations())

    node, victims, status = judge(make_plugin(), pod, search)
    assert (node, victims) == (None, [])
    assert status.reasons == ("preemption: not eligible due to preemptionPolicy=Never.",)


def test_who_waits_for_victims_to_go_evicts_no_others():
    leaving = make_pending("low", cpu_milli=4000, is_terminating=True, is_preempted=True)
    other = make_pending("other", cpu_milli=4000)
    snapshot = make_snapshot(
        make_facts("n1"), make_facts("n2"), pods=[(leaving, "n1"), (other, "n2")]
    )
    pod, nominations = make_pending("urgent", priority=10), Nominations()
    nominations.put(pod, node="n1")

    search = search_for(pod, snapshot=snapshot, nominations=nominations)

    assert judge(make_plugin(), pod, search)[:2] == (None, [])


def test_a_place_promised_to_another_is_not_given_away():
    low = make_pending("low", cpu_milli=4000)
    snapshot = make_snapshot(make_facts("n1"), pods=[(low, "n1")])
    first = make_pending("first", cpu_milli=4000, priority=10)
    second, nominations = replace(first, name="second", uid="2"), Nominations()
    nominations.put(first, node="n1")
    searches = [
        search_for(pod, snapshot=snapshot, nominations=nominations) for pod in (first, second)
    ]

    found = [
        judge(make_plugin(), pod, s)[0] for pod, s in zip((first, second), searches, strict=True)
    ]

    assert found == ["n1", ""]


def test_what_is_kept_of_trials_changes_no_choice():
    rng = random.Random(3)
    snapshot = make_snapshot(*(make_facts(f"n{i}") for i in range(8)))
    nominations, standings, kept = Nominations(), Standings(PROFILE), make_plugin()
    placed, n_found = {}, 0
    for number in range(400):
        node = f"n{rng.randrange(8)}"
        if placed and rng.random() < 0.4:
            pod, node = placed.pop(rng.choice(list(placed)))
            snapshot.remove_pod(pod, node=node)
        else:
            amount, priority = rng.choice((500, 1500)), rng.randrange(4)
            pod = make_pending(f"low-{number}", cpu_milli=amount, priority=priority)
            snapshot.add_pod(pod, node=node)
            placed[pod.uid] = pod, node
        pod = make_pending(f"urgent-{number % 5}", cpu_milli=3000, priority=rng.choice((2, 5)))
        if rng.random() < 0.3:
            nominations.put(pod, node=node)
        elif rng.random() < 0.3:
            nominations.remove(pod.uid)

        remembering = search_for(
            pod, snapshot=snapshot, nominations=nominations, standings=standings
        )
        afresh = search_for(pod, snapshot=snapshot, nominations=nominations)

        assert remembering.signature is not None
        assert remembering.found.codes.tolist() == afresh.found.codes.tolist()
        choice = judge(kept, pod, remembering)
        assert choice == judge(make_plugin(), pod, afresh)
        n_found += bool(choice[0])
    assert n_found > 50
