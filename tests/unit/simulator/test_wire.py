"""The replayer tells differences, and does what the unrecorded client did."""

import json

import pytest

from kube.edge.settings import SettingsError
from scheduler.simulator.wire import read_recordings, replay_folder
from tests.api_world import PODS_PATH

POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "w", "namespace": "default", "uid": "u-1", "resourceVersion": "21"},
    "spec": {"containers": [{"name": "a", "image": "i:1"}]},
    "status": {"phase": "Pending"},
}


def record(title, path, response, *, status=200, method="GET", body=None):
    return {
        "title": title,
        "method": method,
        "path": path,
        "accept": "application/json",
        "content_type": "application/json" if body else None,
        "body": body,
        "status": status,
        "headers": {"Content-Type": "application/json"},
        "response": response,
    }


def replayed(folder, *records):
    (folder / "own.json").write_text(json.dumps(records))
    return [str(difference) for difference in replay_folder(folder)]


def missing(name):
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f'pods "{name}" not found',
        "reason": "NotFound",
        "details": {"name": name, "kind": "pods"},
        "code": 404,
    }


def test_an_equal_answer_is_no_difference(tmp_path):
    asked = record("missing", f"{PODS_PATH}/x", missing("x"), status=404)

    assert replayed(tmp_path, asked) == []


def test_tells_other_messages_and_other_statuses(tmp_path):
    worded = record("worded", f"{PODS_PATH}/x", missing("y"), status=404)
    there = record("there", f"{PODS_PATH}/x", POD)

    found = replayed(tmp_path, worded, there)

    assert any("details.name is 'x' instead of 'y'" in each for each in found)
    assert any("status 404 instead of 200" in each for each in found)


def test_an_expired_version_is_expired_again(tmp_path):
    gone = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "too old resource version: 1 (20)",
        "reason": "Expired",
        "code": 410,
    }
    watch = "/api/v1/namespaces?watch=1&resourceVersion=1&timeoutSeconds=1"

    assert replayed(tmp_path, record("old", watch, [{"type": "ERROR", "object": gone}])) == []


def test_does_what_another_client_did_during_a_watch(tmp_path):
    bound = {**POD, "spec": {**POD["spec"], "nodeName": "n1"}}
    bound["metadata"] = {**POD["metadata"], "resourceVersion": "22"}
    events = [{"type": "ADDED", "object": POD}, {"type": "MODIFIED", "object": bound}]
    path = f"{PODS_PATH}?watch=1&resourceVersion=0&timeoutSeconds=2"

    found = replayed(tmp_path, record("watch", path, events))

    # The recording is cut down to little more than what matters; the types are as recorded.
    assert not [each for each in found if "events" in each]


def test_a_watched_table_is_compared_but_not_done_again(tmp_path):
    table = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "rows": []}
    table["metadata"] = {"resourceVersion": "90"}
    path = f"{PODS_PATH}?watch=1&timeoutSeconds=1"

    [found] = replayed(tmp_path, record("watch", path, [{"type": "ADDED", "object": table}]))

    assert found == "own: watch: events  instead of ADDED"


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(SettingsError, match="holds no recordings"):
        read_recordings(tmp_path)
