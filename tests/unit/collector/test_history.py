import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.history import HOUR_S, History, Subject, Tally
from tests.builders import EPOCH_S

NOW_S = EPOCH_S
DAY_S = 86_400.0

observations = st.lists(
    st.tuples(st.sampled_from(["n1", "n2", "n3"]), st.booleans(), st.floats(0, 10 * DAY_S)),
    max_size=60,
)


def make_history(**changes: float) -> History:
    return History(
        **{
            "half_life_s": 2 * DAY_S,
            "stability_half_life_s": 2 * DAY_S,
            "keep_s": 7 * DAY_S,
            "prior_failure_rate": 0.05,
            "prior_weight": 5.0,
            **changes,
        }
    )


def observe(history: History, *, node: str = "n1", failed: bool, age_s: float = 0.0, n: int = 1):
    tally = Tally(n_observations=n, n_unstable=n * failed, n_failures=n * failed)
    history.count(tally, node=node, workload="default/Deployment/web", at_s=NOW_S - age_s)


def rate(history: History, node: str = "n1", *, now_s: float = NOW_S) -> float:
    return history.standing(Subject.NODE, node, now_s=now_s).failure_rate


def test_of_an_unknown_cluster_the_configured_prior_is_expected():
    standing = make_history().standing(Subject.NODE, "n1", now_s=NOW_S)

    assert (standing.failure_rate, standing.stability) == (0.05, 0.95)
    assert standing.total.n_observations == 0


def test_a_node_never_seen_gets_the_clusters_rate_and_not_a_perfect_one():
    history = make_history()
    observe(history, node="n2", failed=True, n=1000)

    assert rate(history, "n1") == pytest.approx(0.995, abs=0.001)


def test_one_failure_does_not_condemn():
    history = make_history()
    observe(history, node="n2", failed=False, n=1000)
    observe(history, failed=True)

    assert rate(history) == pytest.approx(1 / 6, rel=0.02)


def test_many_observations_outweigh_the_prior():
    history = make_history()
    observe(history, failed=False, n=500)
    observe(history, failed=True, n=500)

    assert rate(history) == pytest.approx(0.5, abs=0.01)


def test_after_a_half_life_an_observation_counts_half():
    history = make_history(prior_weight=1e-9)
    observe(history, failed=True, age_s=2 * DAY_S)
    observe(history, failed=False)

    assert rate(history) == pytest.approx(0.5 / 1.5)


def test_stability_forgets_faster_than_the_failure_rate():
    history = make_history(stability_half_life_s=DAY_S / 2)
    observe(history, failed=False, age_s=DAY_S, n=100)
    observe(history, failed=True, n=10)

    standing = history.standing(Subject.NODE, "n1", now_s=NOW_S)
    assert standing.failure_rate == pytest.approx(0.14, abs=0.02)
    assert 1 - standing.stability == pytest.approx(0.30, abs=0.03)


def test_what_is_too_old_does_not_count_and_is_forgotten():
    history = make_history()
    observe(history, failed=True, age_s=7 * DAY_S + 2 * HOUR_S, n=100)

    assert rate(history) == pytest.approx(0.05)
    history.forget(NOW_S)
    assert not history.knows(Subject.NODE, "n1")


def test_those_heard_of_last_are_named():
    history = make_history()
    for workload, age_s in (("a", 3 * HOUR_S), ("b", 0.0), ("c", 2 * HOUR_S)):
        history.count(Tally(n_observations=1), node="n1", workload=workload, at_s=NOW_S - age_s)

    assert history.latest(Subject.WORKLOAD, limit=2) == ["b", "c"]
    assert history.latest(Subject.WORKLOAD, limit=9) == ["a", "b", "c"]


def test_a_late_failure_raises_the_failure_rate_but_leaves_stability():
    history = make_history()
    observe(history, failed=False)
    before = history.standing(Subject.NODE, "n1", now_s=NOW_S)

    history.count(Tally(n_failures=1), node="n1", workload="default/Deployment/web", at_s=NOW_S)

    after = history.standing(Subject.NODE, "n1", now_s=NOW_S)
    assert after.stability == before.stability
    assert after.failure_rate > before.failure_rate


@given(observations, st.floats(0.0, 1.0), st.floats(0.01, 100.0))
def test_rates_stay_between_zero_and_one_and_counts_are_plain(observed, prior, weight):
    history = make_history(prior_failure_rate=prior, prior_weight=weight)
    for node, failed, age_s in observed:
        observe(history, node=node, failed=failed, age_s=age_s)

    for node in ("n1", "n2", "n3"):
        standing = history.standing(Subject.NODE, node, now_s=NOW_S)
        kept = [o for o in observed if o[0] == node and o[2] <= 7 * DAY_S]
        oldest = [o for o in observed if o[0] == node and o[2] <= 7 * DAY_S + HOUR_S]
        assert 0.0 <= standing.failure_rate <= 1.0
        assert 0.0 <= standing.stability <= 1.0
        assert len(kept) <= standing.total.n_observations <= len(oldest)


@given(observations.filter(len), st.floats(0.01, 100.0))
def test_shrinkage_lies_between_what_was_seen_and_the_clusters_rate(observed, weight):
    history = make_history(prior_weight=weight, keep_s=20 * DAY_S)
    for node, failed, age_s in observed:
        observe(history, node=node, failed=failed, age_s=age_s)
    unknown = rate(history, "never seen")

    for node in {o[0] for o in observed}:
        outcomes = {o[1] for o in observed if o[0] == node}
        seen = [float(outcome) for outcome in outcomes]
        assert min(unknown, *seen, 1.0) - 1e-9 <= rate(history, node)
        assert rate(history, node) <= max(unknown, *seen, 0.0) + 1e-9


@given(observations)
def test_what_was_stored_and_loaded_says_the_same(observed):
    history = make_history()
    for node, failed, age_s in observed:
        observe(history, node=node, failed=failed, age_s=age_s)

    loaded = make_history()
    for (subject, name, hour), tally in history.drain().items():
        loaded.load(subject, name, hour=hour, tally=tally)

    for node in ("n1", "n2", "n3"):
        assert rate(loaded, node) == pytest.approx(rate(history, node))
        standing = loaded.standing(Subject.NODE, node, now_s=NOW_S)
        assert standing.total == history.standing(Subject.NODE, node, now_s=NOW_S).total


def test_usual_usage_is_the_mean_of_recent_samples():
    history = make_history()
    for age_s, cpu_milli in ((2 * DAY_S, 100), (0.0, 400)):
        history.count_usage(
            "default/Deployment/web", at_s=NOW_S - age_s, cpu_milli=cpu_milli, memory_bytes=10
        )

    standing = history.standing(Subject.WORKLOAD, "default/Deployment/web", now_s=NOW_S)

    assert standing.usual_cpu_milli == round((100 * 0.5 + 400) / 1.5)
    assert standing.usual_memory_bytes == 10


def test_only_changed_tallies_are_handed_over_and_only_once():
    history = make_history()
    observe(history, failed=True)

    assert {key[:2] for key in history.drain()} == {
        (Subject.NODE, "n1"),
        (Subject.WORKLOAD, "default/Deployment/web"),
    }
    assert history.drain() == {}


@given(observations)
def test_asking_between_observations_changes_nothing(seen):
    asked, unasked = make_history(), make_history()
    for node, failed, age_s in seen:
        observe(asked, node=node, failed=failed, age_s=age_s)
        asked.standing(Subject.NODE, node, now_s=NOW_S)
        observe(unasked, node=node, failed=failed, age_s=age_s)

    for node in ("n1", "n2", "n3"):
        one = asked.standing(Subject.NODE, node, now_s=NOW_S)
        other = unasked.standing(Subject.NODE, node, now_s=NOW_S)
        assert one.failure_rate == pytest.approx(other.failure_rate)
        assert one.stability == pytest.approx(other.stability)
        assert one.total == other.total
