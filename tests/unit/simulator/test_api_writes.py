"""What the simulated API server accepts, refuses, and says."""

import pytest

from tests.api_world import JSON_PATCH, MERGE, PODS_PATH, STRATEGIC, Api, container, pod

LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"


BINDING = {"metadata": {"name": "web"}, "target": {"kind": "Node", "name": "n1"}}


@pytest.fixture
def api():
    return Api()


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"containers": []}, "spec.containers"),
        ({"containers": [container(), container()]}, "spec.containers[1].name"),
        ({"containers": [container(image="")]}, "spec.containers[0].image"),
        (
            {"containers": [container(resources={"requests": {"cpu": "-1"}})]},
            "spec.containers[0].resources.requests[cpu]",
        ),
        (
            {
                "containers": [
                    container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})
                ]
            },
            "spec.containers[0].resources.requests",
        ),
        (
            {"containers": [container(ports=[{"containerPort": 70000}])]},
            "spec.containers[0].ports[0].containerPort",
        ),
        (
            {"containers": [container(volumeMounts=[{"name": "v", "mountPath": "/v"}])]},
            "spec.containers[0].volumeMounts[0].name",
        ),
        (
            {
                "containers": [
                    container(ports=[{"containerPort": n, "hostPort": 80} for n in (1, 2)])
                ]
            },
            "spec.containers[0].ports[1].hostPort",
        ),
        (
            {
                "hostNetwork": True,
                "containers": [container(ports=[{"containerPort": 1, "hostPort": 80}])],
            },
            "spec.containers[0].ports[0].hostPort",
        ),
        ({"containers": [container(livenessProbe={})]}, "spec.containers[0].livenessProbe"),
        ({"volumes": [{"name": "v", "secret": {}}]}, "spec.volumes[0].secret.secretName"),
        ({"schedulingGates": [{"name": "a.io/b"}], "nodeName": "n1"}, "spec.nodeName"),
        ({"restartPolicy": "Sometimes"}, "spec.restartPolicy"),
        ({"tolerations": [{"key": "a", "operator": "Bad"}]}, "spec.tolerations[0].operator"),
        ({"nodeSelector": {"a b": "c"}}, "spec.nodeSelector"),
        (
            {"topologySpreadConstraints": [{"topologyKey": "z", "whenUnsatisfiable": "Cry"}]},
            "spec.topologySpreadConstraints[0].maxSkew",
        ),
    ],
)
def test_names_the_wrong_field_of_a_pod(api, spec, field):
    status, answer = api("POST", PODS_PATH, pod("bad", **spec))

    assert status == 422
    assert answer["reason"] == "Invalid"
    assert field in [cause["field"] for cause in answer["details"]["causes"]]
    assert api("GET", f"{PODS_PATH}/bad")[0] == 404


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "json parse error: unexpected end of JSON input (<empty>)"),
        (b'{"a":', "json parse error: unexpected end of JSON input"),
        (b"nonsense", "invalid character 'o' in literal null (expecting 'u')"),
        ({"kind": "Service"}, "converting (v1.Service) to (core.Pod): unknown conversion"),
        ({"kind": "Foo"}, 'no kind "Foo" is registered for version "v1"'),
        (
            {"spec": {"containers": "x"}},
            "cannot unmarshal string into Go struct field PodSpec.spec.containers",
        ),
        ({"spec": {"priority": 1.5}}, "cannot unmarshal number 1.5 into Go struct field"),
        (
            {"metadata": {"name": "a", "namespace": "other"}},
            "the namespace of the provided object does not match",
        ),
    ],
)
def test_says_what_is_wrong_with_a_body(api, body, message):
    status, answer = api("POST", PODS_PATH, body)

    assert status == 400
    assert message in answer["message"]


def test_reads_yaml(api):
    body = b"metadata: {name: y}\nspec: {containers: [{name: a, image: i}]}"

    status, answer = api("POST", PODS_PATH, body, content_type="application/yaml")

    assert (status, answer["spec"]["containers"][0]["imagePullPolicy"]) == (201, "Always")


def test_strict_validation_finds_repeated_fields(api):
    body = b'{"metadata":{"name":"a","name":"b"},"spec":{"containers":[{"name":"a","image":"i"}]}}'

    status, answer = api("POST", f"{PODS_PATH}?fieldValidation=Strict", body)

    assert status == 400
    assert answer["message"].endswith('strict decoding error: duplicate field "metadata.name"')


def test_resolves_the_priority_class(api):
    api.made(CLASSES, {"metadata": {"name": "high"}, "value": 1000})

    made = api.made(PODS_PATH, pod(priorityClassName="high"))

    assert made["spec"]["priority"] == 1000
    assert api("POST", PODS_PATH, pod("x", priorityClassName="none"))[0] == 403


def test_pods_without_a_class_get_the_default_one(api):
    for name, is_default in (("low", True), ("high", False)):
        api.made(CLASSES, {"metadata": {"name": name}, "value": 5, "globalDefault": is_default})

    status, answer = api(
        "POST", CLASSES, {"metadata": {"name": "other"}, "value": 6, "globalDefault": True}
    )

    spec = api.made(PODS_PATH, pod())["spec"]
    assert (spec["priorityClassName"], spec["priority"]) == ("low", 5)
    assert status == 403
    assert answer["message"].endswith(
        "PriorityClass low is already marked as default. Only one default can exist"
    )


def test_a_dry_run_stores_nothing(api):
    status, answer = api("POST", f"{PODS_PATH}?dryRun=All", pod())

    assert (status, answer["metadata"]["name"]) == (201, "web")
    assert "resourceVersion" not in answer["metadata"]
    assert api("GET", f"{PODS_PATH}/web")[0] == 404


def test_only_the_image_of_a_running_pod_may_change(api):
    api.made(PODS_PATH, pod())
    image = {"spec": {"containers": [{"name": "app", "image": "nginx:1.28"}]}}
    command = {"spec": {"containers": [{"name": "app", "command": ["sh"]}]}}

    changed, _ = api("PATCH", f"{PODS_PATH}/web", image, content_type=STRATEGIC)
    refused, answer = api("PATCH", f"{PODS_PATH}/web", command, content_type=STRATEGIC)

    assert (changed, refused) == (200, 422)
    assert '+   "Command": [' in answer["message"]


def test_status_and_spec_are_written_apart(api):
    api.made(PODS_PATH, pod())

    api("PATCH", f"{PODS_PATH}/web", {"status": {"phase": "Failed"}}, content_type=MERGE)
    assert api("GET", f"{PODS_PATH}/web")[1]["status"]["phase"] == "Pending"

    body = {"status": {"phase": "Running"}, "spec": {"nodeName": "n1"}}
    api("PATCH", f"{PODS_PATH}/web/status", body, content_type=MERGE)
    found = api("GET", f"{PODS_PATH}/web")[1]
    assert found["status"]["phase"] == "Running"
    assert "nodeName" not in found["spec"]


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (
            {"spec": {"hostNetwork": "yes"}},
            STRATEGIC,
            ' "" is invalid: patch: Invalid value: "map[spec:map[hostNetwork:yes]]": '
            "unrecognized type: bool",
        ),
        (
            {"spec": {"$patch": "mend"}},
            STRATEGIC,
            "unknown patch type: mend in map: map[$patch:mend]",
        ),
        (
            [],
            MERGE,
            "error decoding patch: json: cannot unmarshal array into Go value of type "
            "map[string]interface {}",
        ),
        (
            {},
            JSON_PATCH,
            "error decoding patch: json: cannot unmarshal object into Go value of type "
            "[]handlers.jsonPatchOp",
        ),
        (
            {"metadata": {"uid": "x"}},
            MERGE,
            'Pod "web" is invalid: metadata.uid: Invalid value: "x": field is immutable',
        ),
        (
            {"metadata": {"resourceVersion": "x"}},
            MERGE,
            'strconv.ParseUint: parsing "x": invalid syntax',
        ),
        (
            {"metadata": {"namespace": "other"}},
            MERGE,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            {"metadata": {"finalizers": ["mine"]}},
            MERGE,
            'Pod "web" is invalid: metadata.finalizers[0]: Invalid value: "mine": '
            "name is neither a standard finalizer name nor is it fully qualified",
        ),
        (
            {"spec": {"containers": [{"name": "app", "image": ""}]}},
            STRATEGIC,
            'Pod "web" is invalid: spec.containers[0].image: Required value',
        ),
        (
            {"spec": {"activeDeadlineSeconds": 20}},
            MERGE,
            'Pod "web" is invalid: spec.activeDeadlineSeconds: Invalid value: 20: '
            "must be less than or equal to previous value",
        ),
        (
            {"spec": {"schedulingGates": [{"name": "a.io/b"}]}},
            MERGE,
            'Pod "web" is invalid: spec.schedulingGates: Forbidden: only deletion is allowed, '
            "but found new scheduling gate 'a.io/b'",
        ),
    ],
)
def test_says_what_is_wrong_with_a_patch(api, body, kind, message):
    api.made(PODS_PATH, pod(activeDeadlineSeconds=10))

    assert api("PATCH", f"{PODS_PATH}/web", body, content_type=kind)[1]["message"] == message


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("dryRun=Some", "dryRun"),
        ("fieldManager=" + "x" * 129, "fieldManager"),
        ("fieldValidation=Some", "fieldValidation"),
        ("force=true", "force"),
    ],
)
def test_names_the_parameter_that_means_nothing(api, query, field):
    api.made(PODS_PATH, pod())

    status, answer = api("PATCH", f"{PODS_PATH}/web?{query}", {}, content_type=MERGE)

    assert (status, answer["details"]["causes"][0]["field"]) == (422, field)


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        ({"metadata": {"resourceVersion": "1"}}, MERGE, 409),
        ({"metadata": {"name": "other"}}, MERGE, 400),
        ([{"op": "test", "path": "/metadata/name", "value": "x"}], JSON_PATCH, 422),
        ({"metadata": {}}, "application/json", 415),
        (b"{bad", MERGE, 400),
    ],
)
def test_patches_that_cannot_be(api, body, kind, code):
    api.made(PODS_PATH, pod())

    assert api("PATCH", f"{PODS_PATH}/web", body, content_type=kind)[0] == code


def test_a_patch_that_changes_nothing_makes_no_version(api):
    before = api.made(PODS_PATH, pod())

    after = api("PATCH", f"{PODS_PATH}/web", {"metadata": {"labels": {}}}, content_type=MERGE)[1]

    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_server_side_apply_creates_and_merges(api):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    path = "/api/v1/namespaces/default/configmaps/c?fieldManager=me"
    kind = "application/apply-patch+yaml"

    assert api("PATCH", path, body, content_type=kind)[0] == 201
    status, merged = api("PATCH", path, {**body, "data": {"b": "2"}}, content_type=kind)

    assert (status, merged["data"]) == (200, {"a": "1", "b": "2"})
    assert merged["metadata"]["managedFields"][0]["operation"] == "Apply"


def test_a_lease_is_created_by_put_and_replaced_by_version_only(api):
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}}

    assert api("PUT", f"{LEASES}/l", lease)[0] == 201
    status, answer = api("PUT", f"{LEASES}/l", lease)

    assert status == 422
    assert "metadata.resourceVersion: Invalid value: 0" in answer["message"]


def test_a_lease_that_is_gone_is_not_made_anew_by_replacing_it(api):
    lease = api.made(LEASES, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
    api("DELETE", f"{LEASES}/l")

    status, answer = api("PUT", f"{LEASES}/l", lease)

    assert (status, answer["reason"]) == (409, "Conflict")
    uid = lease["metadata"]["uid"]
    assert answer["message"].endswith(f"UID in precondition: {uid}, UID in object meta: ")
    assert api("GET", f"{LEASES}/l")[0] == 404


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("2026-01-01T00:00:00Z", 'cannot parse "Z" as ".000000"'),
        ("2026-01-01T00:00:00.123456789Z", 'cannot parse "789Z" as "Z07:00"'),
        ("2026-01-01", 'cannot parse "" as "T"'),
        ("soon", 'cannot parse "soon" as "2006"'),
    ],
)
def test_a_lease_is_renewed_to_the_microsecond(api, text, rest):
    answer = api("POST", LEASES, {"metadata": {"name": "l"}, "spec": {"renewTime": text}})[1]

    assert answer["message"].endswith(rest)


def test_instants_are_kept_in_universal_time(api):
    lease = {"metadata": {"name": "l"}, "spec": {"renewTime": "2026-01-01T02:00:00.500000+02:00"}}
    condition = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T02:00:00.5Z"}
    node = {"metadata": {"name": "n1"}, "status": {"conditions": [condition]}}

    assert api.made(LEASES, lease)["spec"]["renewTime"] == "2026-01-01T00:00:00.500000Z"
    [kept] = api.made("/api/v1/nodes", node)["status"]["conditions"]
    assert kept["lastHeartbeatTime"] == "2026-01-01T02:00:00Z"


def test_a_scale_is_the_replicas_of_a_deployment(api):
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container()]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    api.made(DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec})

    api("PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 4}}, content_type=MERGE)

    assert api("GET", f"{DEPLOYMENTS}/d/scale")[1]["status"]["selector"] == "app=web"
    found = api("GET", f"{DEPLOYMENTS}/d")[1]
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (4, 2)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "/api/v1/pods", 405),
        ("PUT", PODS_PATH, 405),
        ("DELETE", "/api/v1/namespaces", 405),
        ("GET", "/api/v1/namespaces/default/foos", 404),
        ("GET", f"{PODS_PATH}/web/log", 501),
        ("DELETE", "/api/v1/namespaces/default", 403),
    ],
)
def test_addresses_that_do_not_do(api, method, path, code):
    assert api(method, path, None if method in ("GET", "DELETE") else pod())[0] == code


def test_a_terminating_namespace_takes_no_more_and_ends_when_empty(api):
    api.made("/api/v1/namespaces", {"metadata": {"name": "short"}})
    path = "/api/v1/namespaces/short/pods"
    api.made(path, pod())
    api("POST", f"{path}/web/binding", BINDING)

    assert api("DELETE", "/api/v1/namespaces/short")[0] == 200

    status, answer = api("POST", path, pod("late"))
    assert (status, answer["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    api("DELETE", f"{path}/web?gracePeriodSeconds=0")
    assert api("GET", "/api/v1/namespaces/short")[0] == 404


BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


def running_with_budget(api, *, allowed):
    api.made(PODS_PATH, {**pod(), "metadata": {"name": "web", "labels": {"app": "web"}}})
    api("POST", f"{PODS_PATH}/web/binding", BINDING)
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    api("PATCH", f"{PODS_PATH}/web/status", {"status": ready}, content_type=MERGE)
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    api.made(BUDGETS, {"metadata": {"name": "b"}, "spec": spec})
    status = {"observedGeneration": 1, "disruptionsAllowed": allowed, "desiredHealthy": 1}
    body = {"status": {**status, "currentHealthy": 1 + allowed, "expectedPods": 1}}
    api("PATCH", f"{BUDGETS}/b/status", body, content_type=MERGE)


@pytest.mark.parametrize(
    ("subresource", "kind"), [("binding", "Binding"), ("eviction", "Eviction")]
)
def test_the_name_must_be_the_pods(api, subresource, kind):
    api.made(PODS_PATH, pod())

    status, answer = api("POST", f"{PODS_PATH}/web/{subresource}", {"metadata": {"name": "x"}})

    assert status == 400
    assert answer["message"] == f"name in URL does not match name in {kind} object"


def test_a_binding_ends_the_nomination(api):
    api.made(PODS_PATH, pod())
    nomination = {"status": {"nominatedNodeName": "n2"}}
    api("PATCH", f"{PODS_PATH}/web/status", nomination, content_type=MERGE)

    api.made(f"{PODS_PATH}/web/binding", BINDING)

    bound = api("GET", f"{PODS_PATH}/web")[1]
    assert bound["spec"]["nodeName"] == "n1"
    assert "nominatedNodeName" not in bound["status"]


def test_an_eviction_spends_the_budget(api):
    running_with_budget(api, allowed=1)

    assert api("POST", f"{PODS_PATH}/web/eviction", {"metadata": {"name": "web"}})[0] == 201

    budget = api("GET", f"{BUDGETS}/b")[1]["status"]
    assert (budget["disruptionsAllowed"], list(budget["disruptedPods"])) == (0, ["web"])
    assert [each["reason"] for each in budget["conditions"]] == ["InsufficientPods"]
    evicted = api("GET", f"{PODS_PATH}/web")[1]
    assert evicted["metadata"]["deletionGracePeriodSeconds"] == 30
    assert evicted["status"]["conditions"][-1]["type"] == "DisruptionTarget"


def test_an_eviction_beyond_the_budget_is_refused(api):
    running_with_budget(api, allowed=0)

    status, answer = api("POST", f"{PODS_PATH}/web/eviction", {"metadata": {"name": "web"}})

    assert status == 429
    assert answer["details"]["causes"][0]["message"] == (
        "The disruption budget b needs 1 healthy pods and has 1 currently"
    )


def test_names_the_wrong_field_of_a_node(api):
    taint = {"key": "a", "effect": "NoSchedule"}
    node = {"metadata": {"name": "n1"}, "spec": {"taints": [taint, taint]}}
    node["status"] = {"capacity": {"cpu": "-1"}, "allocatable": {"cpu": "1"}}

    _, answer = api("POST", "/api/v1/nodes", node)

    assert answer["message"] == (
        'Node "n1" is invalid: [metadata.taints[1]: Duplicate value: {"Key":"a","Value":"",'
        '"Effect":"NoSchedule","TimeAdded":null}: taints must be unique by key and effect pair, '
        'status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0]'
    )


def test_what_a_node_was_given_once_stays(api):
    spec = {"podCIDR": "10.0.0.0/24", "providerID": "a://1"}
    node = api.made("/api/v1/nodes", {"metadata": {"name": "n1"}, "spec": spec})

    change = {"spec": {"podCIDR": "10.0.1.0/24", "providerID": "a://2"}}
    status, answer = api("PATCH", "/api/v1/nodes/n1", change, content_type=MERGE)

    assert node["spec"]["podCIDRs"] == ["10.0.0.0/24"]
    assert status == 422
    fields = [cause["field"] for cause in answer["details"]["causes"]]
    assert fields == ["spec.podCIDRs", "spec.providerID"]


def test_one_address_of_a_pod_is_also_a_list(api):
    api.made(PODS_PATH, pod())

    change = {"status": {"podIP": "10.0.0.7"}}
    _, patched = api("PATCH", f"{PODS_PATH}/web/status", change, content_type=MERGE)

    assert patched["status"]["podIPs"] == [{"ip": "10.0.0.7"}]


def test_a_gated_pod_says_so(api):
    made = api.made(PODS_PATH, pod(schedulingGates=[{"name": "a.io/b"}]))

    assert [each["reason"] for each in made["status"]["conditions"]] == ["SchedulingGated"]
