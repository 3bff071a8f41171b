"""Scenario files: what they may say, and how they are told what they may not."""

import json
from pathlib import Path

import pytest
import yaml

from kube.edge.settings import SettingsError
from scheduler.simulator.__main__ import main
from scheduler.simulator.experiments.scenario import load_scenario, scenario_schema
from tests.unit.simulator.experiments.schema_check import faults

FOLDER = Path(__file__).resolve().parents[4] / "config" / "scenarios"
SHIPPED = sorted(FOLDER.glob("*.yaml"))
LEAST = "name: small\nnodes:\n  - {name: good, count: 2}\n"


def load(tmp_path, text):
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    return load_scenario(path)


def refusal(tmp_path, text):
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, text)
    return str(refused.value)


def schema_faults(text):
    schema = scenario_schema()
    return faults(yaml.safe_load(text), schema, root=schema)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_scenario_that_is_shipped_loads_under_the_name_of_its_file(path):
    scenario = load_scenario(path)

    assert scenario.name == path.stem
    assert scenario.description
    assert scenario.n_nodes == sum(group.count for group in scenario.nodes)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_scenario_that_is_shipped_is_valid_by_the_schema(path):
    assert schema_faults(path.read_text()) == []


def test_there_is_a_scenario_in_which_there_is_nothing_to_learn_and_most_promise_something():
    expectations = {path.stem: load_scenario(path).expects for path in SHIPPED}

    assert expectations["uniform"] == "no_worse"
    assert list(expectations.values()).count("better") >= 5


def test_the_schema_is_printed_as_json(capsys):
    assert main(["schema"]) == 0

    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(json.dumps(scenario_schema()))
    assert printed["$ref"] == "#/$defs/Scenario"
    assert printed["$defs"]["Scenario"]["required"] == ["name"]


def test_the_least_that_a_scenario_says_is_its_name_and_its_nodes(tmp_path):
    scenario = load(tmp_path, LEAST)

    assert (scenario.expects, scenario.warm_up, scenario.measured) == ("better", 604_800, 172_800)
    assert (scenario.services, scenario.jobs, scenario.drifts) == ((), (), ())
    assert (scenario.nodes[0].cpu_milli, scenario.nodes[0].memory_bytes) == (4000, 16 * 2**30)
    assert schema_faults(LEAST) == []


WRONG = [
    pytest.param("name: a\n", "nodes", id="no nodes"),
    pytest.param("name: a\nnodes: []\n", ":2: nodes:", id="an empty list of nodes"),
    pytest.param(
        "name: a\nnodes:\n  - {name: n, count: 0}\n", ":3: nodes.0.count:", id="a group of none"
    ),
    pytest.param(LEAST + "measure: 2d\n", ":4: measure: unknown key", id="a mistyped key"),
    pytest.param(
        "name: a\nnodes:\n  - name: n\n    count: 2\n    nature:\n      sped: 2\n",
        ":6: nodes.0.nature.sped: unknown key",
        id="a mistyped key deep inside",
    ),
    pytest.param(
        "name: a\nnodes:\n  - {name: n, count: 1, numa: {policy: strict}}\n",
        ":3: nodes.0.numa.policy:",
        id="no such policy of the topology manager",
    ),
    pytest.param(
        "name: a\nnodes:\n  - {name: n, count: 1, numa: {zones: 9}}\n",
        ":3: nodes.0.numa.zones:",
        id="more zones than kubelets cope with",
    ),
    pytest.param(LEAST + "expects: wonders\n", ":4: expects:", id="no such expectation"),
    pytest.param("name: Big One\nnodes: [{name: n, count: 1}]\n", ":1: name:", id="a bad name"),
    pytest.param(
        LEAST + "jobs:\n  - name: b\n    per_hour: -1\n", ":6: jobs.0.per_hour:", id="a rate < 0"
    ),
    pytest.param(
        LEAST + "jobs:\n  - {name: b, per_hour: 1, burst: {even: [1, 2]}}\n",
        ":5: jobs.0.burst.even: unknown key",
        id="no such distribution",
    ),
    pytest.param(
        LEAST + "drifts:\n  - {at: 1h, nodes: {good: {sped: 1}}}\n", ":5: drifts.0", id="a drift"
    ),
]
WRONG_BEYOND_THE_SCHEMA = [
    pytest.param(
        "name: a\nnodes:\n  - {name: n, count: 1, extended_resources: {gpu: 1}}\n",
        "'gpu' has no domain",
        id="a resource of nobody",
    ),
    pytest.param(
        LEAST + "jobs:\n  - {name: b, per_hour: 1, extended_requests: {gpu: 1}}\n",
        "'gpu' has no domain",
        id="a request for a resource of nobody",
    ),
    pytest.param(
        "name: a\nnodes:\n  - {name: n, count: 1, cpu: '6', numa: {zones: 4}}\n",
        ":3: nodes.0: numa: 6 cores do not divide evenly into 4 zones",
        id="half a core",
    ),
    pytest.param(
        "name: a\nnodes:\n  - {name: n, count: 1, numa: {devices: [example.com/gpu]}}\n",
        "numa: devices: 'example.com/gpu' is not among extended_resources",
        id="no such devices",
    ),
    pytest.param(LEAST + "measured: 0s\n", ":4: measured: must be more than 0", id="no time"),
    pytest.param(LEAST + "start: soon\n", "start: 'soon' is no RFC 3339 time", id="no instant"),
    pytest.param(
        LEAST + "start: '0001-01-01T00:00:00Z'\n", "start: '0001-01-01T00:00:00Z' lies", id="old"
    ),
    pytest.param(LEAST + "warm_up: soon\n", ":4: warm_up: 'soon' is not a duration", id="soon"),
    pytest.param(
        "name: a\nnodes:\n  - {name: n, count: 1, memory: lots}\n", ":3: nodes.0:", id="memory"
    ),
    pytest.param(
        "name: a\nnodes:\n  - {name: n, count: 1, cpu: '0'}\n",
        ":3: nodes.0: cpu and memory must be more than 0",
        id="no cpu",
    ),
    pytest.param(
        LEAST + "jobs:\n  - name: b\n    per_hour: 1\n    run_s: {uniform: [2, 1]}\n",
        ":7: jobs.0.run_s: uniform: the lower bound stands first",
        id="bounds the wrong way round",
    ),
    pytest.param(
        LEAST + "services:\n  - name: w\n    nature: {diurnal_amplitude: 2}\n",
        ":6: services.0.nature: diurnal_amplitude: 2 is not between 0 and 0.95",
        id="a nature that cannot be",
    ),
    pytest.param(
        LEAST + f"jobs: [{{name: b, per_hour: 1, hourly: {[0] * 24}}}]\n",
        ":4: jobs.0: hourly: in some hour",
        id="never",
    ),
    pytest.param(
        LEAST + f"jobs: [{{name: b, per_hour: 1, diurnal_amplitude: 0.1, hourly: {[1] * 24}}}]\n",
        ":4: jobs.0: hourly: give this, or diurnal_amplitude",
        id="two shapes of the day",
    ),
    pytest.param(
        "name: a\nnodes:\n  - {name: n, count: 1}\n  - {name: n, count: 2}\n",
        "nodes: two are called 'n'",
        id="two node groups of one name",
    ),
    pytest.param(
        LEAST + "services: [{name: w}]\njobs: [{name: w, per_hour: 1}]\n",
        "services and jobs: two are called 'w'",
        id="a service and a job of one name",
    ),
    pytest.param(
        LEAST + "drifts:\n  - {at: 1h, nodes: {bad: {}}}\n",
        "drifts: nodes: there is no 'bad'",
        id="a drift of unknown nodes",
    ),
    pytest.param(
        LEAST + "drifts:\n  - {at: 1h, workloads: {good: {}}}\n",
        "drifts: workloads: there is no 'good'",
        id="a drift of unknown workloads",
    ),
]


@pytest.mark.parametrize(("text", "words"), WRONG + WRONG_BEYOND_THE_SCHEMA)
def test_what_is_wrong_is_refused_with_file_line_and_key(tmp_path, text, words):
    message = refusal(tmp_path, text)

    assert message.startswith(str(tmp_path / "scenario.yaml"))
    assert words in message


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_the_schema_refuses_it_too(text, words):
    assert schema_faults(text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: No such file"):
        load_scenario(tmp_path / "nowhere.yaml")
