"""Custom resources: served as their definition says, with the types of its schema."""

from pathlib import Path

import pytest
import yaml

from tests.api_world import MERGE, Api

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "/apis/scheduling.x-k8s.io/v1alpha1"
POD_GROUPS = f"{GROUP}/namespaces/default/podgroups"
SHIPPED = (
    Path(__file__).parents[3] / "config" / "crds" / "podgroups.scheduling.x-k8s.io.yaml"
).read_text()


def definition(**schema):
    """A definition of things whose spec is as *schema* says."""
    full = {"type": "object", "properties": {"spec": {"type": "object", **schema}}}
    version = {"name": "v1", "served": True, "storage": True}
    return {
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [{**version, "schema": {"openAPIV3Schema": full}}],
        },
    }


def pod_group(name="g", **spec):
    kind = {"apiVersion": "scheduling.x-k8s.io/v1alpha1", "kind": "PodGroup"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def api():
    made = Api()
    made.made(DEFINITIONS, yaml.safe_load(SHIPPED))
    return made


def test_a_pod_group_lives_from_creation_to_deletion(api):
    made = api.made(
        POD_GROUPS,
        pod_group(minMember=3, scheduleTimeoutSeconds=60, minResources={"cpu": 4, "memory": "1Gi"}),
    )
    listed = api("GET", POD_GROUPS)[1]
    patch = {"spec": {"minMember": 4}}
    patched = api("PATCH", f"{POD_GROUPS}/g", patch, content_type=MERGE)[1]
    told = api("PUT", f"{POD_GROUPS}/g/status", {**patched, "status": {"phase": "Scheduling"}})[1]
    replaced = api("PUT", f"{POD_GROUPS}/g", {**told, "status": {"phase": "Running"}})[1]
    deleted = api("DELETE", f"{POD_GROUPS}/g")[0]

    assert made["spec"]["minResources"] == {"cpu": 4, "memory": "1Gi"}
    assert (listed["kind"], len(listed["items"])) == ("PodGroupList", 1)
    assert (made["metadata"]["generation"], patched["metadata"]["generation"]) == (1, 2)
    assert told["status"] == replaced["status"] == {"phase": "Scheduling"}
    assert replaced["spec"]["minMember"] == 4
    assert (deleted, api("GET", f"{POD_GROUPS}/g")[0]) == (200, 404)


def test_a_pod_group_is_discovered(api):
    [resource, status] = api("GET", GROUP)[1]["resources"]

    assert resource["shortNames"] == ["pg", "pgs"]
    assert {"create", "list", "watch", "update", "patch", "delete"} <= set(resource["verbs"])
    assert status["name"] == "podgroups/status"
    assert "scheduling.x-k8s.io" in {each["name"] for each in api("GET", "/apis")[1]["groups"]}


def test_tables_have_the_columns_of_the_definition(api):
    api.made(POD_GROUPS, pod_group(minMember=3))
    api.clock.now_s += 90

    table = api("GET", POD_GROUPS, accept="application/json;as=Table;v=v1;g=meta.k8s.io")[1]

    names = [each["name"] for each in table["columnDefinitions"]]
    assert names == ["Name", "Phase", "MinMember", "Running", "Succeeded", "Failed", "Age"]
    [row] = table["rows"]
    assert row["cells"] == ["g", None, 3, None, None, None, "90s"]


@pytest.mark.parametrize(
    ("path", "cell"),
    [
        (".spec.parts[1].name", "b"),
        (".spec.parts[2].name", None),
        ('.spec.parts[?(@.kind=="x")].name', "a"),
        (".spec.parts[*].name", None),
        (".spec.name.of", None),
    ],
)
def test_columns_follow_paths(path, cell):
    api, made = Api(), definition(**{"x-kubernetes-preserve-unknown-fields": True})
    column = {"name": "Part", "type": "string", "jsonPath": path}
    made["spec"]["versions"][0]["additionalPrinterColumns"] = [column]
    api.made(DEFINITIONS, made)
    things = "/apis/example.com/v1/namespaces/default/things"
    parts = [{"name": "a", "kind": "x"}, {"name": "b", "kind": "y"}]
    api.made(things, {"metadata": {"name": "t"}, "spec": {"parts": parts}})

    table = api("GET", things, accept="application/json;as=Table;v=v1;g=meta.k8s.io")[1]

    assert table["rows"][0]["cells"] == ["t", cell]


def test_a_definition_says_when_it_is_served(api):
    found = api("GET", f"{DEFINITIONS}/podgroups.scheduling.x-k8s.io")[1]

    conditions = {each["type"]: each["status"] for each in found["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert found["status"]["acceptedNames"]["listKind"] == "PodGroupList"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        pytest.param(
            {"minMember": "three"},
            'spec.minMember: Invalid value: "string": '
            'spec.minMember in body must be of type integer: "string"',
            id="type",
        ),
        pytest.param(
            {"minMember": 0},
            "spec.minMember: Invalid value: 0: "
            "spec.minMember in body should be greater than or equal to 1",
            id="bound",
        ),
        pytest.param(
            {"minResources": {"cpu": "lots"}},
            "spec.minResources.cpu in body should match",
            id="text",
        ),
        pytest.param(
            {"minResources": {"cpu": True}},
            'must be of type integer,string: "boolean"',
            id="integer or string",
        ),
    ],
)
def test_values_that_the_schema_does_not_allow_are_refused(api, spec, why):
    status, answer = api("POST", POD_GROUPS, pod_group(**spec))

    assert (status, answer["reason"]) == (422, "Invalid")
    assert answer["message"].startswith('PodGroup.scheduling.x-k8s.io "g" is invalid: ')
    assert why in answer["message"]


def test_fields_that_the_schema_does_not_know_are_dropped(api):
    status, answer = api("POST", f"{POD_GROUPS}?fieldValidation=Strict", pod_group(minMembers=3))
    made = api.made(POD_GROUPS, pod_group(minMembers=3))

    assert status == 400
    assert 'unknown field "spec.minMembers"' in answer["message"]
    assert made["spec"] == {}


@pytest.mark.parametrize(
    ("schema", "spec", "kept"),
    [
        pytest.param(
            {"x-kubernetes-preserve-unknown-fields": True}, {"a": [1]}, {"a": [1]}, id="open"
        ),
        pytest.param(
            {"properties": {"size": {"type": "integer", "default": 2}}},
            {},
            {"size": 2},
            id="default",
        ),
        pytest.param(
            {
                "properties": {
                    "parts": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"a": {"type": "string"}}},
                    }
                }
            },
            {"parts": [{"a": "x", "b": 1}]},
            {"parts": [{"a": "x"}]},
            id="elements",
        ),
    ],
)
def test_objects_are_kept_as_the_schema_says(schema, spec, kept):
    api = Api()
    api.made(DEFINITIONS, definition(**schema))

    made = api.made(
        "/apis/example.com/v1/namespaces/default/things", {"metadata": {"name": "t"}, "spec": spec}
    )

    assert made["spec"] == kept


@pytest.mark.parametrize(
    ("schema", "spec", "why"),
    [
        pytest.param({"required": ["size"]}, {}, "spec.size: Required value", id="required"),
        pytest.param(
            {"properties": {"mode": {"type": "string", "enum": ["A", "B"]}}},
            {"mode": "C"},
            'spec.mode: Unsupported value: "C": supported values: "A", "B"',
            id="enum",
        ),
        pytest.param(
            {"properties": {"parts": {"type": "array", "minItems": 1}}},
            {"parts": []},
            "spec.parts in body should have at least 1 items",
            id="items",
        ),
        pytest.param(
            {"properties": {"name": {"type": "string", "maxLength": 2}}},
            {"name": "abc"},
            "spec.name in body should be at most 2 chars long",
            id="length",
        ),
        pytest.param(
            {"properties": {"on": {"type": "boolean"}}}, {"on": 1}, "of type boolean", id="boolean"
        ),
    ],
)
def test_schemas_are_enforced(schema, spec, why):
    api = Api()
    api.made(DEFINITIONS, definition(**schema))

    status, answer = api(
        "POST",
        "/apis/example.com/v1/namespaces/default/things",
        {"metadata": {"name": "t"}, "spec": spec},
    )

    assert status == 422
    assert why in answer["message"]


def without_schema():
    made = definition()
    del made["spec"]["versions"][0]["schema"]
    return made


def in_group(group):
    made = definition()
    made["metadata"]["name"], made["spec"]["group"] = f"things.{group}", group
    return made


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        pytest.param({**definition(), "metadata": {"name": "x.y"}}, "metadata.name", id="name"),
        pytest.param(without_schema(), "spec.versions[0].schema.openAPIV3Schema", id="schema"),
        pytest.param(
            in_group("example.k8s.io"),
            "metadata.annotations[api-approved.kubernetes.io]",
            id="approval",
        ),
        pytest.param({"metadata": {"name": "x.y"}, "spec": {}}, "spec.group", id="empty"),
    ],
)
def test_a_definition_that_cannot_be_served_is_refused(wrong, field):
    status, answer = Api()("POST", DEFINITIONS, wrong)

    assert status == 422
    assert field in {cause["field"] for cause in answer["details"]["causes"]}


def test_a_definition_has_types_too():
    made = definition()
    made["spec"]["versions"] = "v1"

    status, answer = Api()("POST", DEFINITIONS, made)

    assert status == 400
    assert "cannot unmarshal string into Go struct field" in answer["message"]


def test_no_definition_takes_the_place_of_a_built_in_resource():
    api, made = Api(), in_group("apps")
    made["metadata"]["name"] = "deployments.apps"
    made["spec"]["names"]["plural"] = "deployments"

    api.made(DEFINITIONS, made)
    api("DELETE", f"{DEFINITIONS}/deployments.apps")

    assert api("GET", "/apis/apps/v1/deployments")[1]["kind"] == "DeploymentList"
