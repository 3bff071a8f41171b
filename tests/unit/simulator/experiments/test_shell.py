"""The scheduler in virtual time: it sees and acts through the API server's door alone."""

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import yaml

from kube.client import MERGE_PATCH
from scheduler.events import Predicted
from scheduler.model import POD_GROUP_LABEL
from scheduler.predictions import PredictionAnswer
from scheduler.simulator.experiments.news import read_news
from scheduler.simulator.experiments.policies import policy_of
from scheduler.simulator.experiments.shell import VirtualShell
from scheduler.simulator.resources import PODS
from tests.unit.simulator.experiments.worlds import make_group, make_site

CRDS = Path(__file__).parents[4] / "config" / "crds"
PROFILES = CRDS.parent / "profiles"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PODS_PATH = "/api/v1/namespaces/default/pods"


class Stage:
    """A site without users, and a scheduler."""

    def __init__(self, *groups, policy="kube-default", forecasts=None, seed=0, before=()):
        self.site = make_site(*groups)
        self.run(10.0, shell=None)
        for name in before:
            self.create(name)
        self.shell = VirtualShell(
            policy_of(policy).profiles(), client=self.site.client, forecasts=forecasts, seed=seed
        )

    def create(
        self, name, *, cpu="500m", priority=0, scheduler="ai-scheduler", labels=None, **spec
    ):
        meta = {"name": name, "labels": labels or {"app": "web"}, "annotations": {}}
        if priority:
            meta["annotations"]["priority"] = str(priority)
        container = {
            "name": "app",
            "image": "registry.example/web:1",
            "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}},
        }
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": meta,
            "spec": {"schedulerName": scheduler, "containers": [container], **spec},
        }
        self.site.client.post(PODS_PATH, body=msgspec.json.encode(body))

    def pod(self, name):
        return self.site.store.find(PODS, "default", name)

    def node_of(self, name):
        return self.pod(name)["spec"].get("nodeName")

    def settle(self):
        """Have the scheduler decide all that can be decided now."""
        n_done = 0
        while True:
            changes = self.site.feed.take()
            n_acts = self.shell.turn(read_news(changes))
            n_done += n_acts
            if n_acts:
                self.site.cluster.step(self.site.now_s)
            elif not changes:
                return n_done

    def run(self, seconds, *, shell=True):
        end_s = self.site.now_s + seconds
        while self.site.now_s < end_s:
            self.site.step(self.site.now_s + 1.0)
            if shell:
                self.settle()


class Oracle:
    """A predictor that likes one node, and notes what it is asked and told."""

    def __init__(self, liked):
        self._liked = liked
        self.asked = []
        self.told = []

    def answer(self, shapes, *, now_s):
        nodes = ("n1", "n2", "n3")
        self.asked.append(shapes)
        scores = [[100.0 if name == self._liked else 0.0 for name in nodes]] * len(shapes)
        return Predicted(
            PredictionAnswer(
                nodes=nodes,
                algorithm="enhanced_scoring",
                model_version=0,
                snapshot_at_s=now_s,
                shapes=shapes,
                prediction_ids=tuple(f"id-{i}" for i in range(len(shapes))),
                scores=np.array(scores),
                p_success=None,
                usual=(None,) * len(shapes),
            )
        )

    def note(self, bound, *, now_s):
        self.told.append((bound.pod.key, bound.node, bound.prediction_id))


def test_a_pending_pod_is_bound_at_once_and_runs():
    stage = Stage()
    stage.create("a")

    assert stage.settle() == 1
    assert stage.node_of("a") in {"n1", "n2", "n3"}
    stage.run(60.0)
    assert stage.pod("a")["status"]["phase"] == "Running"
    scheduled = [c for c in stage.pod("a")["status"]["conditions"] if c["type"] == "PodScheduled"]
    assert [c["status"] for c in scheduled] == ["True"]


def test_a_scheduler_that_has_just_started_knows_what_was_there():
    stage = Stage(make_group(count=2), before=["a", "b", "c"])
    stage.site.feed.take()

    assert stage.settle() == 3
    assert {stage.node_of(name) for name in "abc"} == {"n1", "n2"}


def test_pods_of_another_scheduler_are_left_alone_but_counted():
    stage = Stage(make_group(count=1))
    stage.create("theirs", cpu="3500m", scheduler="default-scheduler")
    assert stage.settle() == 0
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "theirs"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "n1"},
    }
    stage.site.client.post(f"{PODS_PATH}/theirs/binding", body=msgspec.json.encode(binding))
    stage.create("ours")

    assert stage.settle() == 0
    assert stage.node_of("ours") is None


def test_a_pod_that_fits_nowhere_waits_and_is_bound_when_room_comes():
    stage = Stage(make_group(count=1))
    stage.create("first", cpu="3")
    stage.create("second", cpu="3")
    stage.run(30.0)
    bound = [name for name in ("first", "second") if stage.node_of(name)]
    assert len(bound) == 1
    [waiting] = {"first", "second"} - set(bound)

    stage.site.client.delete(f"{PODS_PATH}/{bound[0]}")
    stage.run(60.0)

    assert stage.pod(bound[0]) is None
    assert stage.node_of(waiting) == "n1"


def test_a_cordoned_node_is_passed_over_until_it_is_open_again():
    stage = Stage(make_group(count=1))
    path = "/api/v1/nodes/n1"
    stage.site.client.patch(path, body=b'{"spec":{"unschedulable":true}}', content_type=MERGE_PATCH)
    stage.create("a")
    stage.run(30.0)
    assert stage.node_of("a") is None

    stage.site.client.patch(path, body=b'{"spec":{"unschedulable":null}}', content_type=MERGE_PATCH)
    stage.run(30.0)

    assert stage.node_of("a") == "n1"


def test_a_pod_of_higher_priority_makes_room_for_itself_by_the_door():
    stage = Stage(make_group(count=1))
    stage.create("humble", cpu="3")
    stage.run(30.0)
    assert stage.pod("humble")["status"]["phase"] == "Running"
    seen = []
    stage.site.store.on_change(lambda change: seen.append(change.new), of=(PODS,))

    stage.create("urgent", cpu="3", priority=100)
    stage.run(60.0)

    assert stage.pod("humble") is None
    assert stage.node_of("urgent") == "n1"
    marked = [
        c["reason"]
        for pod in seen
        if pod["metadata"]["name"] == "humble" and "deletionTimestamp" in pod["metadata"]
        for c in pod["status"]["conditions"]
        if c["type"] == "DisruptionTarget"
    ]
    assert set(marked) == {"PreemptionByScheduler"}


def test_equal_priority_makes_no_room():
    stage = Stage(make_group(count=1))
    stage.create("first", cpu="3", priority=100)
    stage.run(30.0)
    stage.create("second", cpu="3", priority=100)
    stage.run(60.0)

    assert (stage.node_of("first"), stage.node_of("second")) == ("n1", None)


def test_a_policy_without_a_predictor_goes_its_way():
    stage = Stage(policy="ai")
    stage.create("a")

    stage.run(10.0)
    assert stage.node_of("a") is not None


def test_a_predictor_is_asked_about_shapes_and_told_where_pods_went():
    oracle = Oracle("n2")
    stage = Stage(policy="ai", forecasts=oracle)
    for name in ("a", "b"):
        stage.create(name, cpu="100m")
    stage.run(10.0)

    assert [stage.node_of(name) for name in ("a", "b")] == ["n2", "n2"]
    asked = {(shape.workload, shape.cpu_milli, shape.memory_bytes) for shape in oracle.asked[0]}
    assert asked == {(f"default/Pod/{name}", 100, 64 * 2**20) for name in ("a", "b")}
    assert {(pod, node) for pod, node, _ in oracle.told} == {
        ("default/a", "n2"),
        ("default/b", "n2"),
    }
    assert all(number.startswith("id-") for *_, number in oracle.told)


def test_kube_default_asks_nobody():
    oracle = Oracle("n2")
    stage = Stage(forecasts=oracle)
    stage.create("a")
    stage.run(10.0)

    assert oracle.asked == []
    assert stage.node_of("a") is not None


def placed_at_random(seed):
    stage = Stage(make_group(count=4, cpu="64", memory="64Gi"), policy="random", seed=seed)
    for number in range(80):
        stage.create(f"p{number}", cpu="100m")
        stage.settle()
    return [stage.node_of(f"p{number}") for number in range(80)]


def test_random_puts_pods_anywhere_alike_and_by_the_seed():
    once, again, other = placed_at_random(1), placed_at_random(1), placed_at_random(2)

    assert once == again
    assert once != other
    assert set(Counter(once)) == {"n1", "n2", "n3", "n4"}
    assert max(Counter(once).values()) < 40


def test_kinds_that_are_defined_later_are_read_from_then_on():
    stage = Stage()
    for name in ("a", "b"):
        stage.create(name, labels={POD_GROUP_LABEL: "gang"})
    before = stage.settle()
    definition = yaml.safe_load((CRDS / "podgroups.scheduling.x-k8s.io.yaml").read_text())
    client = stage.site.client

    client.post(DEFINITIONS, body=msgspec.json.encode(definition))
    group = {"metadata": {"name": "gang"}, "spec": {"minMember": 2}}
    client.post(
        "/apis/scheduling.x-k8s.io/v1alpha1/namespaces/default/podgroups",
        body=msgspec.json.encode(group),
    )

    assert (before, stage.settle()) == (0, 2)


def test_quotas_hold_in_virtual_time():
    stage = Stage(policy=str(PROFILES / "batch.yaml"))
    client = stage.site.client
    for name in ("podgroups.scheduling.x-k8s.io", "elasticquotas.scheduling.x-k8s.io"):
        definition = yaml.safe_load((CRDS / f"{name}.yaml").read_text())
        client.post(DEFINITIONS, body=msgspec.json.encode(definition))
    client.post(
        "/apis/scheduling.x-k8s.io/v1alpha1/namespaces/default/elasticquotas",
        body=msgspec.json.encode({"metadata": {"name": "share"}, "spec": {"min": {"cpu": 1}}}),
    )
    for name in ("a", "b", "c"):
        stage.create(name)

    assert stage.settle() == 2
