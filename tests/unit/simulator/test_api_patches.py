"""Patches change what they name and nothing else."""

import pytest

from scheduler.simulator.apiserver.errors import ApiError
from scheduler.simulator.apiserver.patch import json_merge, json_patch, strategic_merge

POD = {
    "metadata": {"labels": {"a": "1"}, "finalizers": ["x"]},
    "spec": {"containers": [{"name": "app", "image": "i:1"}, {"name": "side", "image": "s:1"}]},
}


def merged(patch):
    return strategic_merge(POD, patch, type_name="Pod")


def test_merge_patch_removes_by_null_and_replaces_lists():
    result = json_merge(POD, {"metadata": {"labels": None}, "spec": {"containers": []}})

    assert result == {"metadata": {"finalizers": ["x"]}, "spec": {"containers": []}}


def test_strategic_merge_finds_elements_by_their_key():
    result = merged({"spec": {"containers": [{"name": "side", "image": "s:2"}]}})

    assert result["spec"]["containers"] == [
        {"name": "app", "image": "i:1"},
        {"name": "side", "image": "s:2"},
    ]


def test_strategic_merge_deletes_and_orders_elements():
    patch = {
        "$setElementOrder/containers": [{"name": "new"}, {"name": "app"}],
        "containers": [{"name": "side", "$patch": "delete"}, {"name": "new", "image": "n"}],
    }

    result = merged({"spec": patch})

    assert [each["name"] for each in result["spec"]["containers"]] == ["new", "app"]


def test_strategic_merge_replaces_when_told():
    result = merged({"metadata": {"labels": {"$patch": "replace", "b": "2"}}})

    assert result["metadata"]["labels"] == {"b": "2"}


def test_strategic_merge_joins_and_shrinks_plain_lists():
    joined = merged({"metadata": {"finalizers": ["y"]}})
    shrunk = merged({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}})

    assert joined["metadata"]["finalizers"] == ["x", "y"]
    assert shrunk["metadata"]["finalizers"] == []


def test_json_patch_operates_on_a_copy():
    operations = [
        {"op": "test", "path": "/metadata/labels/a", "value": "1"},
        {"op": "add", "path": "/spec/containers/-", "value": {"name": "z"}},
        {"op": "move", "from": "/metadata/labels/a", "path": "/metadata/labels/b~1c"},
        {"op": "copy", "from": "/spec/containers/0/name", "path": "/metadata/copied"},
        {"op": "replace", "path": "/spec/containers/1/image", "value": "s:9"},
        {"op": "remove", "path": "/spec/containers/0"},
    ]

    result = json_patch(POD, operations)

    assert [each["name"] for each in result["spec"]["containers"]] == ["side", "z"]
    assert result["spec"]["containers"][0]["image"] == "s:9"
    assert result["metadata"]["labels"] == {"b/c": "1"}
    assert result["metadata"]["copied"] == "app"
    assert POD["metadata"]["labels"] == {"a": "1"}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/metadata/labels/a", "value": "2"},
        {"op": "remove", "path": "/metadata/nothing"},
        {"op": "replace", "path": "/spec/containers/7/image", "value": "x"},
        {"op": "add", "path": "/spec/containers/9", "value": {}},
        {"op": "sing", "path": "/metadata"},
    ],
)
def test_json_patch_refuses_what_cannot_be_done(operation):
    with pytest.raises(ApiError) as refused:
        json_patch(POD, [operation])

    assert refused.value.code == 422
