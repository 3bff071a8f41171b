"""The examples and manifests in ``config/``: they parse, fit, and ask for no more than is used."""

from pathlib import Path

import msgspec
import pytest
import yaml

from kube.objects import Pod
from scheduler.events import PodSeen
from scheduler.model import PodFacts
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


def test_every_program_runs_without_privileges_under_its_own_account():
    deployments = [
        d for d in documents(CONFIG / "k8s/deployment.yaml") if d["kind"] == "Deployment"
    ]

    specs = {d["metadata"]["name"]: d["spec"]["template"]["spec"] for d in deployments}

    assert sorted(specs) == ["ai-collector", "ai-predictor", "ai-scheduler"]
    for name, spec in specs.items():
        [container] = spec["containers"]
        assert spec["serviceAccountName"] == name
        assert spec["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
