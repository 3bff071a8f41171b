"""Lists, pages, tables and discovery of the simulated API server."""

import pytest

from scheduler.simulator.apiserver.durations import human_duration
from scheduler.simulator.apiserver.pod_rows import pod_row, pod_state
from tests.api_world import PODS_PATH, Api, pod

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@pytest.fixture
def api():
    return Api()


def names(answer):
    return [item["metadata"]["name"] for item in answer["items"]]


def test_pages_show_the_list_as_it_was_at_first(api):
    for name in "abcde":
        api.made(PODS_PATH, pod(name))
    first = api("GET", f"{PODS_PATH}?limit=2")[1]
    api.made(PODS_PATH, pod("ab"))
    api("DELETE", f"{PODS_PATH}/d")

    token = first["metadata"]["continue"]
    second = api("GET", f"{PODS_PATH}?limit=9&continue={token}")[1]

    assert names(first) + names(second) == ["a", "b", "c", "d", "e"]
    assert first["metadata"]["remainingItemCount"] == 3
    assert second["metadata"] == {"resourceVersion": first["metadata"]["resourceVersion"]}


def test_an_expired_page_offers_to_go_on_inconsistently():
    api = Api(log_size=2)
    for name in "abc":
        api.made(PODS_PATH, pod(name))
    token = api("GET", "/api/v1/pods?limit=1")[1]["metadata"]["continue"]
    for name in "xyz":
        api.made(PODS_PATH, pod(name))

    status, answer = api("GET", f"/api/v1/pods?continue={token}")

    assert (status, answer["reason"]) == (410, "Expired")
    rest = api("GET", f"/api/v1/pods?continue={answer['metadata']['continue']}")[1]
    assert names(rest) == ["b", "c", "x", "y", "z"]


def test_a_page_of_a_selection_goes_on_after_its_last_match(api):
    for name in "abcd":
        labels = {"even": "yes"} if name in "bd" else {}
        api.made(PODS_PATH, {**pod(name), "metadata": {"name": name, "labels": labels}})

    first = api("GET", f"{PODS_PATH}?limit=1&labelSelector=even")[1]

    assert names(first) == ["b"]
    assert "remainingItemCount" not in first["metadata"]
    token = first["metadata"]["continue"]
    rest = api("GET", f"{PODS_PATH}?limit=1&labelSelector=even&continue={token}")[1]
    assert names(rest) == ["d"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=-1", 200),
        ("limit=x", 400),
        ("resourceVersion=999999", 504),
        ("resourceVersionMatch=Exact", 422),
        ("sendInitialEvents=true", 422),
    ],
)
def test_list_parameters(api, query, code):
    assert api("GET", f"{PODS_PATH}?{query}")[0] == code


def test_an_exact_version_shows_the_past(api):
    version = api.made(PODS_PATH, pod("a"))["metadata"]["resourceVersion"]
    api.made(PODS_PATH, pod("b"))

    past = api("GET", f"{PODS_PATH}?resourceVersion={version}&resourceVersionMatch=Exact")[1]

    assert names(past) == ["a"]


def test_both_forms_of_an_event_are_one_object(api):
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "default"},
        "reason": "Started",
        "message": "hello",
        "type": "Normal",
    }
    api.made("/api/v1/namespaces/default/events", event)

    newer = api("GET", "/apis/events.k8s.io/v1/events?fieldSelector=regarding.name%3Dweb")[1]
    older = api("GET", "/api/v1/events?fieldSelector=involvedObject.name%3Dweb")[1]

    assert newer["items"][0]["note"] == older["items"][0]["message"] == "hello"


def test_tables_grow_old_in_virtual_time(api):
    api.made(PODS_PATH, pod())
    api.clock.now_s += 3 * 3600

    table = api("GET", PODS_PATH, accept=TABLE)[1]

    assert table["rows"][0]["cells"][:5] == ["web", "0/1", "Pending", "0", "3h"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (130, "2m10s"),
        (1200, "20m"),
        (3 * 3600 + 60, "3h1m"),
        (47 * 3600, "47h"),
        (50 * 3600, "2d2h"),
        (30 * 86400, "30d"),
        (800 * 86400, "2y70d"),
        (-5, "<invalid>"),
    ],
)
def test_durations_are_short(seconds, text):
    assert human_duration(seconds) == text


def with_status(**status):
    return {**pod(), "status": status}


def crashed(reason, **last):
    waiting = {"name": "app", "restartCount": 3, "state": {"waiting": {"reason": reason}}}
    return {**waiting, "lastState": {"terminated": last}} if last else waiting


@pytest.mark.parametrize(
    ("shown", "state"),
    [
        (with_status(phase="Pending"), "Pending"),
        (with_status(phase="Failed", reason="Evicted"), "Evicted"),
        (
            with_status(phase="Running", containerStatuses=[crashed("CrashLoopBackOff")]),
            "CrashLoopBackOff",
        ),
        (
            with_status(
                phase="Running",
                containerStatuses=[{"state": {"terminated": {"reason": "OOMKilled"}}}],
            ),
            "OOMKilled",
        ),
        (
            {
                **pod(initContainers=[{"name": "i"}]),
                "status": {"initContainerStatuses": [{"name": "i", "state": {"running": {}}}]},
            },
            "Init:0/1",
        ),
        (
            {
                **with_status(phase="Running"),
                "metadata": {"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            },
            "Terminating",
        ),
    ],
)
def test_a_pods_state_in_a_word(shown, state):
    assert pod_state(shown) == state


def test_restarts_tell_when_the_last_one_was():
    status = crashed("CrashLoopBackOff", finishedAt="2026-01-01T00:00:00Z")
    shown = with_status(phase="Running", containerStatuses=[status])

    assert pod_row(shown, 1767225600 + 150)[3] == "3 (2m30s ago)"
