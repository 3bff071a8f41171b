"""The examples and manifests in ``config/``: they parse, fit, and ask for no more than is used."""

from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
import yaml

from kube.edge.settings import Duration, SettingsError
from kube.objects import Pod
from scheduler.api import OPERATIONS
from scheduler.events import PodSeen
from scheduler.framework.configuration import load_configuration
from scheduler.framework.leader_election import LeaderElectionConfiguration
from scheduler.model import PodFacts
from scheduler.plugins.defaults import built_in_registry
from scheduler.settings import DEFAULT_PORT, ExtenderSettings
from tests.api_world import Api
from tests.unit.scheduler.worlds import feed, make_engine, make_facts, placements

CONFIG = Path(__file__).parents[3] / "config"
EXAMPLES = sorted((CONFIG / "examples").glob("*.yaml"))


def documents(path):
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def pods_of(document):
    template = document["spec"].get("template", document)
    for i in range(document["spec"].get("replicas", 1)):
        meta = {**template["metadata"], "namespace": "default"}
        meta["name"] = meta["uid"] = f"{document['metadata']['name']}-{i}"
        yield msgspec.convert({"metadata": meta, "spec": template["spec"]}, Pod)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_asks_for_our_scheduler_and_states_its_needs(path):
    for document in documents(path):
        for pod in pods_of(document):
            facts = PodFacts.from_pod(pod)
            assert facts.scheduler_name == "ai-scheduler"
            assert facts.requests["cpu"] > 0
            assert facts.requests["memory"] > 0


@pytest.mark.parametrize(
    "path", [*EXAMPLES, *(CONFIG / "k8s").glob("*.yaml")], ids=lambda path: f"{path.stem}"
)
def test_every_file_is_accepted_by_the_simulated_api_server(path):
    api = Api()

    for document in documents(path):
        group = document["apiVersion"]
        if group.startswith("rbac."):
            continue  # rights are not simulated
        root = f"/apis/{group}" if "/" in group else f"/api/{group}"
        namespace = document["metadata"]["namespace"]
        plural = f"{document['kind'].lower()}s"
        api.made(f"{root}/namespaces/{namespace}/{plural}", document)


def test_the_priorities_go_from_40_to_200():
    pods = [p for each in documents(CONFIG / "examples/priorities.yaml") for p in pods_of(each)]

    assert [PodFacts.from_pod(pod).priority for pod in pods] == [40, 80, 120, 160, 200]


@pytest.mark.parametrize("name", ["gang", "gang-split"])
def test_a_gang_is_as_large_as_its_annotation_says(name):
    pods = [p for each in documents(CONFIG / f"examples/{name}.yaml") for p in pods_of(each)]

    assert {pod.metadata.annotations["pod-group-size"] for pod in pods} == {str(len(pods))}
    assert len({pod.metadata.annotations["pod-group"] for pod in pods}) == 1


def test_the_readme_names_every_example():
    text = (CONFIG / "examples/README.md").read_text()

    assert [path.name for path in EXAMPLES if f"`{path.name}`" not in text] == []


def test_kube_scheduler_is_sent_where_we_answer_and_waits_for_longer_than_we_take():
    [configuration] = documents(CONFIG / "examples/kube-scheduler/extender.yaml")
    [extender] = configuration["extenders"]
    prefix = urlsplit(extender["urlPrefix"])
    verbs = {extender[verb] for verb in ("filterVerb", "prioritizeVerb", "preemptVerb")}

    assert prefix.port == DEFAULT_PORT
    assert {f"{prefix.path}/{verb}" for verb in verbs} < {o.path for o in OPERATIONS}
    assert Duration.parse(extender["httpTimeout"]) > ExtenderSettings().timeout


def test_a_file_with_extenders_is_refused_for_we_call_none(tmp_path):
    path = tmp_path / "profile.yaml"
    head = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
    path.write_text(f"{head}profiles: [{{}}]\nextenders: []\n")

    with pytest.raises(SettingsError, match="extenders: unknown key"):
        load_configuration(path, registry=built_in_registry())


def test_the_demo_fits_on_five_small_nodes():
    nodes = [make_facts(f"n{i}", cpu_milli=3900, memory_bytes=7 * 2**30) for i in range(5)]
    pods = [pod for each in documents(CONFIG / "examples/demo.yaml") for pod in pods_of(each)]
    engine = make_engine(*nodes)

    placed = placements(feed(engine, [PodSeen(PodFacts.from_pod(pod)) for pod in pods]))

    assert len(pods) == len(placed) == 49
    assert set(placed.values()) == {node.name for node in nodes}


def test_the_other_programs_may_only_look_or_nothing():
    verbs = {
        document["metadata"]["name"]: {verb for rule in document["rules"] for verb in rule["verbs"]}
        for document in documents(CONFIG / "k8s/rbac.yaml")
        if document["kind"] == "ClusterRole"
    }

    assert verbs["ai-collector"] == {"list", "watch"}
    assert "ai-predictor" not in verbs


def deployments():
    return {
        document["metadata"]["name"]: document["spec"]
        for path in sorted((CONFIG / "k8s").glob("*.yaml"))
        for document in documents(path)
        if document["kind"] == "Deployment"
    }


def test_every_program_runs_without_privileges_under_its_own_account():
    specs = {name: spec["template"]["spec"] for name, spec in deployments().items()}

    assert sorted(specs) == ["ai-collector", "ai-predictor", "ai-scheduler"]
    for name, spec in specs.items():
        [container] = spec["containers"]
        assert spec["serviceAccountName"] == name
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"readinessProbe", "livenessProbe", "resources"} <= set(container)


def test_every_object_of_a_namespace_is_in_the_same_one():
    namespaces = {
        document["metadata"].get("namespace")
        for path in sorted((CONFIG / "k8s").glob("*.yaml"))
        for document in documents(path)
        if not document["kind"].startswith("ClusterRole")
    }

    assert namespaces == {"kube-system"}


def test_two_schedulers_run_and_elect_a_leader_under_the_usual_profile(tmp_path):
    [text] = [
        text
        for document in documents(CONFIG / "k8s/deployment.yaml")
        if document["kind"] == "ConfigMap"
        for text in document["data"].values()
    ]
    mounted = tmp_path / "profile.yaml"
    mounted.write_text(text)
    [usual] = documents(CONFIG / "profiles/ai.yaml")

    in_cluster = load_configuration(mounted, registry=built_in_registry())

    assert deployments()["ai-scheduler"]["replicas"] == 2
    assert in_cluster.leader_election == LeaderElectionConfiguration(leader_elect=True)
    assert yaml.safe_load(text)["profiles"] == usual["profiles"]
    assert "leaderElection" not in usual


def test_the_lease_that_may_be_written_is_the_one_that_is_elected_by():
    [role] = [d for d in documents(CONFIG / "k8s/rbac.yaml") if d["kind"] == "Role"]
    settings = LeaderElectionConfiguration(leader_elect=True)

    [names] = [rule["resourceNames"] for rule in role["rules"] if "resourceNames" in rule]

    assert names == [settings.resource_name]
    assert role["metadata"]["namespace"] == settings.resource_namespace
