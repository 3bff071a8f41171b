"""The official Python client works against the simulated API server."""

import subprocess
import sys

import pytest
import yaml
from kubernetes import client, dynamic, utils, watch
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

pytestmark = pytest.mark.integration

NAMESPACE = "default"


@pytest.fixture(scope="module")
def api():
    command = [sys.executable, "-m", "scheduler.simulator", "serve"]
    with subprocess.Popen(
        [*command, "--port", "0", "--nodes", "2", "--speed", "30"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        configuration = client.Configuration(host=process.stdout.readline().split()[-1])
        try:
            with client.ApiClient(configuration) as connected:
                yield connected
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def core(api):
    return client.CoreV1Api(api)


def make_pod(name, **spec):
    container = client.V1Container(name="app", image="nginx:1.27")
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name=name, labels={"app": name}),
        spec=client.V1PodSpec(containers=[container], scheduler_name="by-hand", **spec),
    )


def config_map(name):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"kind": "page"}))


def bind(core, name, node):
    target = client.V1ObjectReference(api_version="v1", kind="Node", name=node)
    metadata = client.V1ObjectMeta(name=name)
    # The client cannot read the Status that every server answers with.
    return core.create_namespaced_pod_binding(
        name, NAMESPACE, client.V1Binding(metadata=metadata, target=target), _preload_content=False
    )


def test_a_pod_is_bound_watched_and_evicted(core):
    made = core.create_namespaced_pod(NAMESPACE, make_pod("web"))

    assert bind(core, "web", "n1").status == 201

    phases = []
    for event in watch.Watch().stream(
        core.list_namespaced_pod,
        NAMESPACE,
        label_selector="app=web",
        resource_version=made.metadata.resource_version,
        timeout_seconds=30,
    ):
        phases.append(event["object"].status.phase)
        if phases[-1] == "Running":
            break
    assert (phases[0], phases[-1]) == ("Pending", "Running")

    metadata = client.V1ObjectMeta(name="web", namespace=NAMESPACE)
    answer = core.create_namespaced_pod_eviction(
        "web", NAMESPACE, client.V1Eviction(metadata=metadata)
    )
    assert answer.kind == "Status"


def test_a_replaced_object_must_be_the_newest(core):
    stale = core.read_node("n2")

    core.patch_node("n2", {"metadata": {"labels": {"disk": "ssd"}}})

    with pytest.raises(client.ApiException) as refused:
        core.replace_node("n2", stale)
    assert refused.value.status == 409


def test_lists_come_in_pages_and_watches_resume_after_them(core):
    for i in range(5):
        core.create_namespaced_config_map(NAMESPACE, config_map(f"m{i}"))

    names, token = [], {}
    while token is not None:
        page = core.list_namespaced_config_map(
            NAMESPACE, limit=2, label_selector="kind=page", **token
        )
        names += [each.metadata.name for each in page.items]
        more = page.metadata._continue
        token = {"_continue": more} if more else None
    core.delete_namespaced_config_map("m0", NAMESPACE)
    events = watch.Watch().stream(
        core.list_namespaced_config_map,
        NAMESPACE,
        resource_version=page.metadata.resource_version,
        timeout_seconds=1,
    )

    assert names == ["m0", "m1", "m2", "m3", "m4"]
    assert [(each["type"], each["object"].metadata.name) for each in events] == [("DELETED", "m0")]


def test_the_dynamic_client_finds_and_applies(api):
    deployments = dynamic.DynamicClient(api).resources.get(api_version="apps/v1", kind="Deployment")
    labels = {"app": "dynamic"}
    template = {"metadata": {"labels": labels}}
    template["spec"] = {"containers": [{"name": "app", "image": "nginx:1.27"}]}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}

    made = deployments.server_side_apply(
        body=body, name="d", namespace=NAMESPACE, field_manager="test"
    )
    apps = client.AppsV1Api(api)
    scaled = apps.patch_namespaced_deployment_scale("d", NAMESPACE, {"spec": {"replicas": 1}})

    assert (made.spec.replicas, scaled.spec.replicas) == (2, 1)


def test_objects_are_created_from_yaml(api, tmp_path):
    documents = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}},
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": "team"},
            "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"app": "web"}}},
        },
    ]
    path = tmp_path / "team.yaml"
    path.write_text(yaml.safe_dump_all(documents))

    utils.create_from_yaml(api, str(path))

    [budget] = client.PolicyV1Api(api).list_namespaced_pod_disruption_budget("team").items
    assert budget.spec.min_available == "50%"


def test_a_candidate_takes_the_lease(api, monkeypatch):
    monkeypatch.setattr(client.Configuration, "_default", api.configuration)
    election = electionconfig.Config(
        LeaseLock("election", NAMESPACE, "one"),
        lease_duration=17,
        renew_deadline=15,
        retry_period=5,
        onstarted_leading=lambda: None,
        onstopped_leading=None,
    )

    assert leaderelection.LeaderElection(election).acquire()

    lease = client.CoordinationV1Api(api).read_namespaced_lease("election", NAMESPACE)
    assert lease.spec.holder_identity == "one"


def test_the_server_says_what_it_is(api):
    assert client.VersionApi(api).get_code().minor == "36"
    metrics = client.CustomObjectsApi(api)
    found = metrics.list_cluster_custom_object("metrics.k8s.io", "v1beta1", "nodes")
    assert found["kind"] == "NodeMetricsList"
