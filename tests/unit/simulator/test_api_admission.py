"""What the simulated API server fills in of a new pod: its priority, and its own labels."""

import pytest

from tests.api_world import PODS_PATH, Api, pod

CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
ZONE = "topology.kubernetes.io/zone"


@pytest.fixture
def api():
    return Api()


def labelled(labels, **spec):
    made = pod("web", **spec)
    made["metadata"]["labels"] = labels
    return made


def constraint(**fields):
    selector = {"matchLabels": {"app": "web"}}
    return {"topologyKey": ZONE, "labelSelector": selector, **fields}


def spread(**fields):
    return constraint(maxSkew=1, whenUnsatisfiable="DoNotSchedule", **fields)


def merged(key, value, operator="In"):
    return {"key": key, "operator": operator, "values": [value]}


def created(api, **spec):
    return api.made(PODS_PATH, pod("web", **spec))["spec"]


def test_a_pod_gets_the_priority_and_policy_of_its_class(api):
    api.made(CLASSES, {"metadata": {"name": "low"}, "value": 7, "preemptionPolicy": "Never"})

    spec = created(api, priorityClassName="low")

    assert (spec["priority"], spec["preemptionPolicy"]) == (7, "Never")


@pytest.mark.parametrize(
    ("name", "value"),
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)],
)
def test_the_systems_classes_are_there_from_the_start(api, name, value):
    assert created(api, priorityClassName=name)["priority"] == value


def test_a_pod_without_a_class_gets_the_default_one(api):
    assert created(api)["priority"] == 0
    api("DELETE", f"{PODS_PATH}/web")
    api.made(CLASSES, {"metadata": {"name": "usual"}, "value": 5, "globalDefault": True})

    spec = created(api)

    assert (spec["priorityClassName"], spec["priority"]) == ("usual", 5)


def test_there_is_one_default_class(api):
    api.made(CLASSES, {"metadata": {"name": "usual"}, "value": 5, "globalDefault": True})

    status, answer = api(
        "POST", CLASSES, {"metadata": {"name": "other"}, "value": 6, "globalDefault": True}
    )

    assert (status, answer["reason"]) == (403, "Forbidden")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        pytest.param(
            {"priorityClassName": "nope"}, "no PriorityClass with name nope was found", id="class"
        ),
        pytest.param({"priority": 3}, "the integer value of priority (3)", id="priority"),
    ],
)
def test_a_priority_that_no_class_gives_is_forbidden(api, spec, why):
    status, answer = api("POST", PODS_PATH, pod("web", **spec))

    assert (status, answer["reason"]) == (403, "Forbidden")
    assert answer["message"].startswith(f'pods "web" is forbidden: {why}')


def test_a_spread_constraints_label_keys_select_the_pods_own_labels(api):
    constraints = [spread(matchLabelKeys=["rev", "absent"])]

    made = api.made(
        PODS_PATH, labelled({"app": "web", "rev": "2"}, topologySpreadConstraints=constraints)
    )

    [found] = made["spec"]["topologySpreadConstraints"]
    assert found["matchLabelKeys"] == ["rev", "absent"]
    assert found["labelSelector"] == {
        "matchLabels": {"app": "web"},
        "matchExpressions": [merged("rev", "2")],
    }


def test_affinities_label_keys_select_the_pods_own_labels(api):
    own = constraint(matchLabelKeys=["rev"], mismatchLabelKeys=["tenant"])
    affinity = {
        "podAffinity": {REQUIRED: [own]},
        "podAntiAffinity": {PREFERRED: [{"weight": 1, "podAffinityTerm": own}]},
    }

    made = api.made(PODS_PATH, labelled({"rev": "2", "tenant": "a"}, affinity=affinity))

    found = made["spec"]["affinity"]
    wanted = [merged("rev", "2"), merged("tenant", "a", "NotIn")]
    [required] = found["podAffinity"][REQUIRED]
    [preferred] = found["podAntiAffinity"][PREFERRED]
    assert required["labelSelector"]["matchExpressions"] == wanted
    assert preferred["podAffinityTerm"]["labelSelector"]["matchExpressions"] == wanted


def test_templates_keep_their_label_keys(api):
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {**pod()["spec"], "topologySpreadConstraints": [spread(matchLabelKeys=["rev"])]},
    }
    body = {"selector": {"matchLabels": {"app": "web"}}, "template": template}

    made = api.made(
        "/apis/apps/v1/namespaces/default/deployments", {"metadata": {"name": "web"}, "spec": body}
    )

    [found] = made["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert found["labelSelector"] == {"matchLabels": {"app": "web"}}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        pytest.param(
            {"labelSelector": None},
            "matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
            id="no selector",
        ),
        pytest.param(
            {"matchLabelKeys": ["app"]},
            'matchLabelKeys[0]: Invalid value: "app": exists in both matchLabelKeys and '
            "labelSelector",
            id="selected already",
        ),
    ],
)
def test_label_keys_that_contradict_the_selector_are_refused(api, fields, why):
    constraints = [spread(**{"matchLabelKeys": ["rev"], **fields})]

    status, answer = api(
        "POST", PODS_PATH, labelled({"app": "web"}, topologySpreadConstraints=constraints)
    )

    assert status == 422
    assert f"spec.topologySpreadConstraints[0].{why}" in answer["message"]


def test_a_pod_with_label_keys_can_be_written_back(api):
    constraints = [spread(matchLabelKeys=["rev"])]
    made = api.made(PODS_PATH, labelled({"rev": "2"}, topologySpreadConstraints=constraints))

    status, written = api("PUT", f"{PODS_PATH}/web", made)

    assert status == 200
    assert written["spec"] == made["spec"]
