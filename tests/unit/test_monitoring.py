"""Dashboards, rules and scrape configuration fit each other, and what the programs show."""

import shutil
import subprocess
from collections import Counter

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from collector.telemetry import Telemetry as CollectorTelemetry
from predictor.contract import ModelVersion, Quality, Validation
from predictor.metrics import Metrics as PredictorMetrics
from scheduler.cluster.metrics import Metrics as SchedulerMetrics
from scheduler.simulator.apiserver.telemetry import Telemetry as ApiServerTelemetry
from scheduler.simulator.clock import VirtualClock
from scheduler.simulator.kube_state.exposition import KINDS
from scheduler.simulator.telemetry import SimulationMetrics
from tests.builders import EPOCH_S
from tests.monitoring import (
    GRAFANA,
    PROMETHEUS,
    ROOT,
    dashboards,
    metrics,
    queries,
    rules,
    selectors,
    variables,
)
from tests.simulator_world import Simulation

OF_PROMETHEUS = {"up"}
OF_LEADERS = {"leader_election_master_status"}
SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "summary": ("", "_count", "_sum"),
    "gauge": ("",),
}
promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing (Debian's prometheus has it)"
)


def some_model():
    quality = Quality(roc_auc=0.9, brier=0.1, expected_calibration_error=0.01)
    validation = Validation(
        n_rows=100,
        n_failures=20,
        n_folds=5,
        outcomes_known_in_time=True,
        model=quality,
        base_rate=quality,
        enhanced_scoring=quality,
        gain=0.1,
        gain_standard_error=0.01,
    )
    return ModelVersion(
        version=1,
        trained_at_s=EPOCH_S,
        n_rows=100,
        n_failures=20,
        base_rate=0.8,
        is_trusted=True,
        why_not_trusted="",
        validation=validation,
        importances={"pod_cpu_request": 1.0},
        hyperparameters={},
    )


def registries():
    """Those of all programs, by name."""
    predictor = PredictorMetrics()
    predictor.watch(model_version=lambda: 1, shown_model=some_model, snapshot_age_s=lambda: 1.0)
    simulation = Simulation()
    simulator = CollectorRegistry()
    clock = VirtualClock(start_s=EPOCH_S, speed=1.0, monotonic_s=lambda: 0.0)
    SimulationMetrics(simulator, cluster=simulation.cluster, clock=clock)
    ApiServerTelemetry(simulator, store=simulation.store, n_watches=lambda: 0)
    return {
        "collector": CollectorTelemetry().registry,
        "predictor": predictor.registry,
        "scheduler": SchedulerMetrics(CollectorRegistry()).registry,
        "simulator": simulator,
    }


def families():
    """What the programs show: help and type by name."""
    found = {
        family.name: (family.documentation, family.type)
        for registry in registries().values()
        for family in registry.collect()
    }
    for kind in KINDS:
        for family in kind.families:
            found[family.name.removesuffix("_total")] = (family.help, family.type)
    simulation = Simulation()
    simulation.run(60)
    for family in text_string_to_metric_families("".join(simulation.cluster.metrics.exposition())):
        found[family.name] = (family.documentation, family.type)
    return found


def known_names():
    shown = {name + suffix for name, (_, type_) in families().items() for suffix in SUFFIXES[type_]}
    return shown | {*rules("record")} | OF_PROMETHEUS | OF_LEADERS


def test_every_metric_has_help():
    assert [name for name, (help_, _) in families().items() if not help_.strip()] == []


def test_queries_and_rules_name_only_what_is_there():
    known = known_names()
    asked = {query.where: query.expr for query in (*queries(), *variables())}
    asked |= rules("record") | rules("alert")

    unknown = {where: metrics(expr) - known for where, expr in asked.items()}

    assert {where: names for where, names in unknown.items() if names} == {}


def test_reads_selectors_out_of_queries():
    expr = 'a{x="b{c}", y=~"d|e"} / on (z) group_left () sum by (le) (rate(f:g[5m])) and (h > 0.1)'

    assert list(selectors(expr)) == ['a{x="b{c}", y=~"d|e"}', "f:g", "h"]


def test_there_are_four_dashboards_with_addresses_of_their_own():
    found = dashboards()

    assert set(found) == {"cluster", "scheduling", "model", "simulation"}
    assert len({dashboard["uid"] for dashboard in found.values()}) == len(found)


@pytest.mark.parametrize("name", dashboards())
def test_a_dashboard_is_whole(name):
    dashboard = dashboards()[name]
    panels = dashboard["panels"]
    [source, *_] = dashboard["templating"]["list"]

    assert source["type"] == "datasource"
    assert source["query"] == "prometheus"
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    assert max(Counter(panel["id"] for panel in panels).values()) == 1
    assert [panel["title"] for panel in panels if not panel["description"]] == []
    assert [panel["title"] for panel in panels if not panel["targets"]] == []


@pytest.mark.parametrize("name", dashboards())
def test_panels_do_not_lie_on_each_other(name):
    taken = Counter(
        (x, y)
        for panel in dashboards()[name]["panels"]
        for place in (panel["gridPos"],)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )

    assert max(taken.values()) == 1
    assert max(x for x, _ in taken) < 24


@pytest.mark.parametrize("name", dashboards())
def test_every_variable_that_queries_use_is_defined(name):
    dashboard = dashboards()[name]
    defined = {f"${variable['name']}" for variable in dashboard["templating"]["list"]}
    exprs = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    used = {f"${part.split(chr(34))[0]}" for expr in exprs for part in expr.split("$")[1:]}

    assert used <= defined
    assert defined - used == {"$datasource"}


@pytest.mark.parametrize("kind", ["record", "alert"])
def test_rules_have_names_of_their_own(kind):
    n_rules = sum(
        kind in rule
        for path in (PROMETHEUS / "rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    )

    assert len(rules(kind)) == n_rules


def test_every_alert_says_what_to_do_and_has_a_test():
    groups = yaml.safe_load((PROMETHEUS / "rules/alerts.yml").read_text())["groups"]
    tests = yaml.safe_load((PROMETHEUS / "tests/alerts.yml").read_text())["tests"]
    alerts = {rule["alert"]: rule for group in groups for rule in group["rules"]}

    assert {test["name"] for test in tests} == set(alerts)
    for rule in alerts.values():
        assert set(rule["annotations"]) == {"summary", "description", "action"}
        assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_both_configurations_scrape_the_same():
    compose, local = (
        yaml.safe_load((PROMETHEUS / name).read_text()) for name in ("prometheus.yml", "local.yml")
    )
    hosts = Counter()
    for config in (compose, local):
        for job in config["scrape_configs"]:
            [target] = job.pop("static_configs")[0]["targets"]
            hosts[target.partition(":")[2]] += 1
            job.pop("authorization", None)

    assert compose == local
    assert set(hosts.values()) == {2, 6}  # the simulator's three addresses, each of the others' one


def test_the_stack_of_containers_shows_itself_on_loopback_alone():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    monitoring = {name: s for name, s in services.items() if s.get("profiles") == ["monitoring"]}
    targets = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    hosts = {job["static_configs"][0]["targets"][0].partition(":")[0] for job in targets}

    assert set(monitoring) == {"prometheus", "grafana"}
    assert hosts <= set(services)
    for service in monitoring.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert service["read_only"]
        assert ":" in service["image"]
        assert "latest" not in service["image"]
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert not source.startswith("./") or (ROOT / source).is_dir()


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="no docker-compose here")
def test_docker_compose_knows_the_profile():
    command = ["docker-compose", "--profile", "monitoring", "config", "--services"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert {"cluster", "scheduler", "prometheus", "grafana"} <= set(done.stdout.split())


def test_grafana_is_given_the_dashboards_and_their_source():
    [source] = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/dashboards.yml").read_text())[
        "providers"
    ]
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

    assert source["url"] == "http://prometheus:9090"
    path = provider["options"]["path"]
    assert f"./config/grafana/dashboards:{path}:ro" in services["grafana"]["volumes"]


@promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("check", "config", "local.yml"),
        ("check", "rules", "rules/recording.yml", "rules/alerts.yml"),
        ("test", "rules", "tests/recording.yml", "tests/alerts.yml"),
    ],
    ids=" ".join,
)
def test_promtool_is_content(arguments):
    done = subprocess.run(
        ["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_usual_ports_are_those_of_the_local_configuration():
    jobs = yaml.safe_load((PROMETHEUS / "local.yml").read_text())["scrape_configs"]
    ports = {
        job["job_name"]: int(job["static_configs"][0]["targets"][0].partition(":")[2])
        for job in jobs
    }

    for program in ("collector", "predictor", "scheduler"):
        shipped = yaml.safe_load((ROOT / f"config/{program}.yaml").read_text())
        assert shipped["server"]["port"] == ports[program]
