"""Every panel and every rule, asked of a Prometheus that scrapes the running programs."""

import json
import math
import time

import pytest
import requests
import yaml

from tests.monitoring import PROMETHEUS, Query, queries, rules, selectors, variables
from tests.prometheus import NoPrometheusError, prometheus_server
from tests.stack import Stack, free_addresses

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SPEED = 60
WAIT_S = 120.0
SETTINGS = {
    "COLLECTOR__METRICS__COLLECTION_INTERVAL": "1s",
    "COLLECTOR__SCORING__OBSERVATION_WINDOW": "3m",
    "COLLECTOR__SCORING__PLACEMENT_MAX_LAG": "5m",
    "SCHEDULER__FEEDBACK__OBSERVATION_WINDOW": "3m",
    "SCHEDULER__FEEDBACK__INTERVAL": "1s",
    "SCHEDULER__PREDICTOR__MAX_AGE": "2m",
    "SCHEDULER__PREDICTOR__TIMEOUT": "2s",
    "PREDICTOR__COLLECTOR__REFRESH_INTERVAL": "500ms",
    "PREDICTOR__MODEL__N_ESTIMATORS": "10",
    # The lesson below teaches it, and nothing else does.
    "PREDICTOR__ONLINE_LEARNING__FEEDBACK_THRESHOLD": "100000",
    "PREDICTOR__ONLINE_LEARNING__PERFORMANCE_THRESHOLD": "0",
    "PREDICTOR__ONLINE_LEARNING__GROWTH_RATIO": "1000",
    "PREDICTOR__ONLINE_LEARNING__MIN_INTERVAL": "1s",
}


class Server:
    """What is asked of a Prometheus server."""

    def __init__(self, url):
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False

    def ask(self, path, **parameters):
        answer = self._session.get(f"{self._url}/api/v1/{path}", params=parameters, timeout=30)
        assert answer.ok, f"{parameters}: {answer.text}"
        return answer.json()["data"]

    def has(self, expr):
        """Whether a query has a number for an answer."""
        found = self.ask("query", query=expr)["result"]
        return any(not math.isnan(float(series["value"][1])) for series in found)

    def close(self):
        self._session.close()


def wait_for_all(asked, *, server, stack):
    """Ask until each query was answered once; tell those that were not."""
    deadline = time.monotonic() + WAIT_S
    left = list(asked)
    while left and time.monotonic() < deadline:
        stack.check()
        left = [query for query in left if not server.has(query.expr)]
        if left:
            time.sleep(0.5)
    return left


def config_for(stack):
    """The shipped configuration, with the addresses of this stack's programs, and in a hurry."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(config["global"], "1s")
    config["rule_files"] = [str(PROMETHEUS / pattern) for pattern in config["rule_files"]]
    for job in config["scrape_configs"]:
        job.pop("scrape_interval", None)
        [target] = job["static_configs"][0]["targets"]
        job["static_configs"][0]["targets"] = [stack.addresses[target.partition(":")[0]]]
        if "authorization" in job:
            job["authorization"]["credentials_file"] = str(stack.token_file)
    return yaml.safe_dump(config)


# ------------------------------------------------------------------------ what happens meanwhile


def teach(stack):
    """Let the predictor learn that small pods do well and large ones do not, by its own API."""
    node = stack.ask("GET", "cluster", "/api/v1/nodes")["items"][0]["metadata"]["name"]
    for number in range(80):
        is_large = number % 2 == 1
        # Nothing is so plain that there is no exception to it.
        report(stack, number, node=node, is_large=is_large, success=is_large is (number % 13 == 1))
    stack.ask("POST", "predictor", "/model/retrain")
    deadline = time.monotonic() + WAIT_S
    while not (info := stack.ask("GET", "predictor", "/model/info"))["is_trusted"]:
        assert time.monotonic() < deadline, info["why_not_trusted"]
        time.sleep(0.1)
    for number in range(80, 90):
        report(stack, number, node=node, is_large=number % 2 == 1, success=number % 2 == 0)


def report(stack, number, *, node, is_large, success):
    requests_ = {"cpu": "3", "memory": "4Gi"} if is_large else {"cpu": "100m", "memory": "64Mi"}
    made = stack.ask(
        "POST",
        "predictor",
        "/predict",
        json={
            "pod_name": f"p{number}",
            "pod_spec": {"containers": [{"name": "app", "resources": {"requests": requests_}}]},
        },
    )
    outcome = {"actual_node": node, "success": success, "pod_uid": f"u{number}"}
    body = {"prediction_id": made["prediction_id"], **outcome}
    stack.ask("POST", "predictor", "/feedback", json=body)


def template(name, *, cpu="100m", memory="64Mi", usage, limits=None, priority=None):
    resources = {"requests": {"cpu": cpu, "memory": memory}}
    if limits:
        resources["limits"] = limits
    spec = {
        "schedulerName": "ai-scheduler",
        "containers": [{"name": "app", "image": f"registry.example/{name}:1"}],
    }
    spec["containers"][0]["resources"] = resources
    if priority:
        spec["priorityClassName"] = priority
    annotations = {"simulator.ai-scheduler/usage": json.dumps(usage)}
    return {"metadata": {"labels": {"app": name}, "annotations": annotations}, "spec": spec}


def deploy(stack, name, *, replicas, **pod):
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": template(name, **pod),
    }
    body = {"metadata": {"name": name}, "spec": spec}
    stack.ask("POST", "cluster", "/apis/apps/v1/namespaces/default/deployments", json=body)


def run_workloads(stack, *, server):
    """Let pods run, starve, be killed, find no node, and make room for others."""
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    stack.ask("POST", "cluster", classes, json={"metadata": {"name": "urgent"}, "value": 1000})
    calm = {"cpu": "50m", "memory": "60Mi", "startup_s": 1, "crash_per_hour": 0}
    deploy(stack, "web", replicas=6, usage=calm)
    deploy(stack, "choked", replicas=2, usage={**calm, "cpu": "900m"}, limits={"cpu": "200m"})
    leak = {**calm, "memory_growth_per_hour": "6Gi"}
    deploy(stack, "leaky", replicas=3, usage=leak, limits={"memory": "128Mi"})
    deploy(stack, "filler", replicas=8, cpu="1", usage=calm)
    deploy(stack, "giant", replicas=1, cpu="100", usage=calm)
    time_of_filler_s = time.monotonic() + WAIT_S
    path = "/api/v1/namespaces/default/pods?labelSelector=app%3Dfiller"
    while not all(
        pod["spec"].get("nodeName") for pod in stack.ask("GET", "cluster", path)["items"]
    ):
        assert time.monotonic() < time_of_filler_s, stack.log("scheduler")
        time.sleep(0.1)
    deploy(stack, "urgent", replicas=1, cpu="3", usage=calm, priority="urgent")
    # Few cycles are sampled, and what they show counts from the second time on.
    sampled = Query("plugins", "scheduler_plugin_execution_duration_seconds_count")
    assert wait_for_all([sampled], server=server, stack=stack) == []
    deploy(stack, "more", replicas=20, cpu="10m", usage=calm)


# ------------------------------------------------------------------------------------ the tests


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A stack in which much happens, and the Prometheus server that watches it."""
    folder = tmp_path_factory.mktemp("stack")
    options = ("--nodes=3", "--node-cpu=4", "--node-memory=8Gi")
    [address] = free_addresses(1)
    port = int(address.rpartition(":")[2])
    with Stack(folder, speed=SPEED, simulator=options, settings=SETTINGS) as stack:
        try:
            with prometheus_server(port, config=config_for(stack)) as url:
                server = Server(url)
                # A counter's first step shows only to who has seen it before that.
                seen = Query("targets", "count(count_over_time(up[1m]) >= 2) == 6")
                assert wait_for_all([seen], server=server, stack=stack) == []
                teach(stack)
                run_workloads(stack, server=server)
                yield stack, server
                server.close()
        except NoPrometheusError as error:
            pytest.skip(str(error))


def test_no_panel_is_empty(watched):
    stack, server = watched

    empty = wait_for_all([*queries(), *variables()], server=server, stack=stack)

    assert [f"{query.where}: {query.expr}" for query in empty] == []


def test_every_recording_rule_records_something(watched):
    stack, server = watched

    missing = wait_for_all(
        [Query("rule", name) for name in rules("record")], server=server, stack=stack
    )

    assert [query.expr for query in missing] == []


def test_whatever_alerts_look_at_is_there(watched):
    stack, server = watched
    asked = [
        Query(name, selector)
        for name, expr in rules("alert").items()
        for selector in selectors(expr)
    ]

    missing = wait_for_all(asked, server=server, stack=stack)

    assert [f"{query.where}: {query.expr}" for query in missing] == []


def test_every_rule_is_evaluated_and_every_target_scraped(watched):
    stack, server = watched
    jobs = {"simulator", "kube-state-metrics", "kubelet", "collector", "predictor", "scheduler"}
    scraped = Query("targets", f"sum(up) == {len(jobs)}")

    found = [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]
    targets = server.ask("targets")["activeTargets"]

    assert {rule["name"] for rule in found} == {*rules("record"), *rules("alert")}
    assert [rule for rule in found if rule["health"] != "ok"] == []
    assert {target["labels"]["job"] for target in targets} == jobs
    assert wait_for_all([scraped], server=server, stack=stack) == []


def test_virtual_time_is_taken_out_of_rates(watched):
    """Of a node's four cores no more are in use than there are, though time runs sixty times."""
    stack, server = watched

    assert wait_for_all([Query("", "node:cpu_usage:ratio > 0")], server=server, stack=stack) == []
    assert server.ask("query", query="node:cpu_usage:ratio > 1.2")["result"] == []
    assert server.has(f"abs(cluster:time_speed:ratio - {SPEED}) < {SPEED / 2}")
