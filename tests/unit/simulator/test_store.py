"""The store numbers every change, and deletes as the API server does."""

import pytest

from scheduler.simulator.history import TooOldError
from scheduler.simulator.resources import CONFIG_MAPS, NAMESPACES, PODS
from scheduler.simulator.store import AlreadyExistsError, ConflictError, NotFoundError, Store
from tests.api_world import Clock, pod


def make_store(**options):
    return Store(now_s=Clock(), **options)


def config(name="a", **fields):
    return {"metadata": {"name": name, "namespace": "default"}, **fields}


def bound(store, name="web"):
    store.create(PODS, pod(name))
    return store.modify(
        PODS, "default", name, lambda p: {**p, "spec": {**p["spec"], "nodeName": "n1"}}
    )


def test_equal_seeds_give_equal_uids_and_names():
    one, other = make_store(seed=3), make_store(seed=3)

    made = [s.create(PODS, {**pod(), "metadata": {"generateName": "x-"}}) for s in (one, other)]

    assert made[0] == made[1]
    assert made[0]["metadata"]["name"].startswith("x-")


def test_names_are_taken_once():
    store = make_store()
    store.create(CONFIG_MAPS, config())

    with pytest.raises(AlreadyExistsError):
        store.create(CONFIG_MAPS, config())


def test_a_stale_version_is_a_conflict():
    store = make_store()
    first = store.create(CONFIG_MAPS, config(data={"a": "1"}))
    store.update(CONFIG_MAPS, {**first, "data": {"a": "2"}})

    with pytest.raises(ConflictError):
        store.update(CONFIG_MAPS, {**first, "data": {"a": "3"}})


def test_writing_what_is_there_makes_no_version():
    store = make_store()
    first = store.create(CONFIG_MAPS, config(data={"a": "1"}))

    again = store.modify(CONFIG_MAPS, "default", "a", lambda obj: obj)

    assert again is first
    assert store.version == int(first["metadata"]["resourceVersion"])


def test_modify_cannot_harm_the_stored_object():
    store = make_store()
    first = store.create(CONFIG_MAPS, config(data={"a": "1"}))

    def alter(obj):
        obj["data"]["a"] = "2"
        return obj

    store.modify(CONFIG_MAPS, "default", "a", alter)

    assert first["data"] == {"a": "1"}


def test_a_pod_on_a_node_stays_until_its_kubelet_lets_go():
    store = make_store()
    bound(store)

    marked = store.delete(PODS, "default", "web")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    assert store.find(PODS, "default", "web") is marked

    store.delete(PODS, "default", "web", grace_period_s=0)
    assert store.find(PODS, "default", "web") is None


def test_a_pending_pod_is_removed_at_once():
    store = make_store()
    store.create(PODS, pod())

    store.delete(PODS, "default", "web")

    assert store.find(PODS, "default", "web") is None


def test_a_deletion_under_way_is_only_hastened():
    store = make_store()
    bound(store)
    store.delete(PODS, "default", "web", grace_period_s=20)

    unchanged = store.delete(PODS, "default", "web", grace_period_s=60)
    sooner = store.delete(PODS, "default", "web", grace_period_s=5)

    assert unchanged["metadata"]["deletionGracePeriodSeconds"] == 20
    assert sooner["metadata"]["deletionGracePeriodSeconds"] == 5


def test_an_object_waits_for_its_finalizers():
    store = make_store()
    meta = {"name": "a", "namespace": "default", "finalizers": ["example.com/hold"]}
    store.create(CONFIG_MAPS, {"metadata": meta})

    held = store.delete(CONFIG_MAPS, "default", "a")
    assert "deletionTimestamp" in held["metadata"]

    store.update(CONFIG_MAPS, {**held, "metadata": {**held["metadata"], "finalizers": []}})
    with pytest.raises(NotFoundError):
        store.get(CONFIG_MAPS, "default", "a")


def test_changes_are_told_in_order_even_when_a_callback_writes():
    store = make_store()
    told = []

    def react(change):
        told.append((change.resource.plural, change.type))
        if change.resource is NAMESPACES:
            store.create(CONFIG_MAPS, config())

    store.on_change(react)
    store.on_change(lambda change: told.append(("again", change.type)))

    store.create(NAMESPACES, {"metadata": {"name": "x"}})

    assert told == [
        ("namespaces", "ADDED"),
        ("again", "ADDED"),
        ("configmaps", "ADDED"),
        ("again", "ADDED"),
    ]


def test_lists_one_namespace_and_no_neighbour_with_a_longer_name():
    store = make_store()
    for namespace in ("a", "a-b", "ab"):
        store.create(CONFIG_MAPS, {"metadata": {"name": "x", "namespace": namespace}})

    found = store.list(CONFIG_MAPS, "a")

    assert [obj["metadata"]["namespace"] for obj in found] == ["a"]


def test_the_past_can_be_read_until_it_is_forgotten():
    store = make_store(log_size=2)
    store.create(CONFIG_MAPS, config("a"))
    store.create(CONFIG_MAPS, config("b"))
    store.delete(CONFIG_MAPS, "default", "a")
    table = store.table(CONFIG_MAPS)

    then = [entry.key for entry in table.select_at(2, namespace="")]

    assert then == ["default/a", "default/b"]
    with pytest.raises(TooOldError):
        table.select_at(0, namespace="")
