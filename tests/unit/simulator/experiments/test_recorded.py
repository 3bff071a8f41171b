"""Recorded clusters, run again."""

import json

import msgspec
import pytest

from kube.edge.settings import SettingsError
from scheduler.simulator.__main__ import main
from scheduler.simulator.experiments.recorded import WORKLOAD_LABEL, RecordedPods, RecordedUsage
from scheduler.simulator.experiments.scenario import load_scenario
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.resources import NODES, PODS, REPLICASETS
from scheduler.simulator.traces.rows import NodeRow, PodRow
from scheduler.simulator.traces.tables import write_rows
from scheduler.simulator.usage import DrawnUsage
from tests.unit.simulator.experiments.worlds import HOUR_S, make_run

START_S = 1_772_409_600.0  # 2026-03-02T00:00:00Z
GI = 2**30
SCENARIO = """
name: recorded
warm_up: 0s
measured: 1h
recording:
  nodes: nodes.csv
  pods: pods.csv
"""


def node(name="rack1-a", **fields):
    defaults = {"cpu_milli": 4000, "memory_bytes": 8 * GI}
    return NodeRow(name=name, **{**defaults, **fields})


def pod(name="train-1", *, after_s=60.0, **fields):
    defaults = {"cpu_request_milli": 500, "memory_request_bytes": GI}
    return PodRow(name=name, created_at_s=START_S + after_s, **{**defaults, **fields})


def write_recording(folder, *, nodes=(), pods=(), usage="", scenario=SCENARIO):
    write_rows(folder / "nodes.csv", nodes or [node()], kind=NodeRow)
    write_rows(folder / "pods.csv", pods or [pod()], kind=PodRow)
    if usage:
        (folder / "usage.csv").write_text(usage)
        scenario += "  usage: usage.csv\n"
    path = folder / "scenario.yaml"
    path.write_text(scenario)
    return path


def make_site(folder, **parts):
    return Site(load_scenario(write_recording(folder, **parts)), seed=1)


def run_until(site, after_s):
    run = make_run(site)
    run.advance(START_S + after_s)
    return run


def pods_of(site, namespace="default"):
    return {p["metadata"]["name"]: p for p in site.store.list(PODS, namespace)}


def test_nodes_are_as_they_were_recorded(tmp_path):
    recorded = node(
        allocatable_cpu_milli=3000,
        allocatable_memory_bytes=6 * GI,
        max_pods=17,
        labels="disk=ssd",
        taints="gpu=yes:NoSchedule",
    )
    site = make_site(tmp_path, nodes=[recorded, node("rack1-b")])

    first, second = site.store.list(NODES)
    assert first["metadata"]["name"] == "rack1-a"
    assert first["metadata"]["labels"]["disk"] == "ssd"
    assert first["spec"]["taints"] == [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]
    assert first["status"]["capacity"]["cpu"] == "4"
    assert first["status"]["allocatable"]["cpu"] == "3"
    assert first["status"]["allocatable"]["memory"] == f"{6 * GI // 1024}Ki"
    assert first["status"]["allocatable"]["pods"] == "17"
    assert second["status"]["allocatable"]["cpu"] == "3900m"


def test_recorded_nodes_stand_beside_those_that_are_described(tmp_path):
    scenario = SCENARIO + "nodes: [{name: spare, count: 2}]\n"
    site = make_site(tmp_path, nodes=[node("rack1-a")], scenario=scenario)

    assert {n["metadata"]["name"] for n in site.store.list(NODES)} == {"rack1-a", "n1", "n2"}
    assert site.scenario.n_nodes == 3


def test_work_comes_at_its_time_and_ends_by_itself(tmp_path):
    site = make_site(tmp_path, pods=[pod(run_s=300.0, workload="train", cpu_limit_milli=1000)])

    run = run_until(site, 59.0)
    assert pods_of(site) == {}

    run.advance(START_S + 200.0)
    [there] = pods_of(site).values()
    assert there["spec"]["nodeName"] == "rack1-a"
    assert there["spec"]["restartPolicy"] == "Never"
    assert there["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "500m", "memory": str(GI)},
        "limits": {"cpu": "1"},
    }
    assert there["metadata"]["ownerReferences"][0]["name"] == "train"

    run.advance(START_S + 500.0)
    assert pods_of(site)["train-1"]["status"]["phase"] == "Succeeded"


def test_replicas_of_a_workload_leave_when_they_left(tmp_path):
    rows = [
        pod("web-1", workload="web", ended_at_s=START_S + 1200.0),
        pod("web-2", workload="web"),
        pod("db-0", workload="db", workload_kind="StatefulSet", priority=7, labels="tier=data"),
    ]
    site = make_site(tmp_path, pods=rows)

    run = run_until(site, 600.0)
    by_workload = {}
    for each in pods_of(site).values():
        by_workload.setdefault(each["metadata"]["labels"][WORKLOAD_LABEL], []).append(each)
    assert {name: len(each) for name, each in by_workload.items()} == {
        "Deployment.web": 2,
        "StatefulSet.db": 1,
    }
    assert by_workload["StatefulSet.db"][0]["metadata"]["annotations"] == {"priority": "7"}
    assert by_workload["StatefulSet.db"][0]["metadata"]["labels"]["tier"] == "data"

    run.advance(START_S + 1300.0)
    assert len(pods_of(site)) == 2
    assert len(site.store.list(REPLICASETS, "default")) == 2


def test_a_replica_that_is_evicted_comes_again(tmp_path):
    site = make_site(tmp_path, pods=[pod("web-1", workload="web")])
    run = run_until(site, 300.0)
    [first] = pods_of(site)

    site.store.delete(PODS, "default", first)
    run.advance(START_S + 600.0)

    [second] = pods_of(site)
    assert second != first
    assert second.startswith("web-")


def test_pods_are_in_their_own_namespaces(tmp_path):
    rows = [pod("a", namespace="shop"), pod("b", namespace="shop"), pod("c", namespace="default")]
    site = make_site(tmp_path, pods=rows)

    run_until(site, 120.0)

    assert set(pods_of(site, "shop")) == {"a", "b"}
    assert set(pods_of(site)) == {"c"}


def test_where_a_pod_may_run_is_replayed(tmp_path):
    selector = json.dumps({"nodeSelector": {"disk": "ssd"}})
    site = make_site(
        tmp_path,
        nodes=[node("slow"), node("fast", labels="disk=ssd")],
        pods=[pod(f"p{i}", constraints=selector) for i in range(3)],
    )

    run_until(site, 120.0)

    assert {p["spec"]["nodeName"] for p in pods_of(site).values()} == {"fast"}


def test_conditions_on_revisions_are_left_out(tmp_path):
    selector = {
        "matchLabels": {"app": "web", "pod-template-hash": "5d4"},
        "matchExpressions": [
            {"key": "pod-template-hash", "operator": "In", "values": ["5d4"]},
            {"key": "app", "operator": "Exists"},
        ],
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": selector,
        "matchLabelKeys": ["pod-template-hash", "tier"],
    }
    constraints = json.dumps({"topologySpreadConstraints": [spread]})
    labels = "app=web,pod-template-hash=5d4"
    site = make_site(
        tmp_path,
        nodes=[node("a"), node("b")],
        pods=[
            pod(f"web-{i}", workload="web", labels=labels, constraints=constraints)
            for i in range(2)
        ],
    )

    run_until(site, 300.0)

    first, second = pods_of(site).values()
    [written] = first["spec"]["topologySpreadConstraints"]
    assert written["labelSelector"] == {
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "app", "operator": "Exists"}],
    }
    assert written["matchLabelKeys"] == ["tier"]
    assert {first["spec"]["nodeName"], second["spec"]["nodeName"]} == {"a", "b"}


def test_a_name_that_comes_twice_is_two_pods(tmp_path):
    site = make_site(tmp_path, pods=[pod("run"), pod("run", after_s=90.0)])

    run_until(site, 120.0)

    assert set(pods_of(site)) == {"run", "run-again-2"}


def test_of_pods_that_were_there_before_the_rest_is_replayed():
    rows = [
        pod("over", after_s=-500.0, run_s=400.0),
        pod("gone", after_s=-500.0, ended_at_s=START_S - 1.0),
        pod("working", after_s=-500.0, run_s=800.0),
        pod("waited", after_s=-500.0, placed_at_s=START_S - 100.0, run_s=800.0),
        pod("staying", after_s=-500.0, ended_at_s=START_S + 50.0),
        pod("next", after_s=10.0),
        pod("late", after_s=HOUR_S),
    ]

    taken = RecordedPods(rows, from_s=START_S, start_s=0.0, end_s=HOUR_S).pods

    assert {p.name: (p.at_s, p.until_s, p.run_s) for p in taken} == {
        "working": (0.0, float("inf"), 300.0),
        "waited": (0.0, float("inf"), 700.0),
        "staying": (0.0, 50.0, float("inf")),
        "next": (10.0, float("inf"), float("inf")),
    }


def usage_of(site, name):
    """What a pod of a site uses, by its recording."""
    recording = site.scenario.recording
    usage = RecordedUsage(
        site._replay._pods,
        recording=recording,
        seed=site.seed,
        others=DrawnUsage(seed=site.seed),
        library=None,
    )
    return usage.profile(
        pod=f"default/{name}",
        workload="default/any",
        container="app/image",
        cpu_request_milli=1000,
        memory_request_bytes=GI,
    )


USAGE = f"""name,time_s,cpu_ratio,memory_ratio
default/web-1,{START_S},0.9,0.5
default/Deployment/web,{START_S},0.1,0.2
default/Deployment/web,{START_S + 300},0.3,0.4
"""


def test_pods_use_what_they_used_by_their_own_name_or_their_workloads(tmp_path):
    rows = [pod("web-1", workload="web"), pod("web-2", workload="web"), pod("other", run_s=77.0)]
    site = make_site(tmp_path, pods=rows, usage=USAGE)
    run_until(site, 300.0)

    used = sorted(
        usage_of(site, name).series.at(START_S + 300.0)[0]
        for name in pods_of(site)
        if name.startswith("web")
    )
    drawn = usage_of(site, "other")

    assert used == pytest.approx([0.3, 0.9])
    assert drawn.series is None
    assert drawn.run_s == 77.0


def test_recorded_usage_keeps_its_times_when_the_recording_is_moved(tmp_path):
    moved = SCENARIO.replace("measured", 'start: "2026-04-01T00:00:00Z"\nmeasured')
    site = make_site(
        tmp_path,
        pods=[pod("train", workload="web", workload_kind="Job")],
        usage=USAGE.replace("Deployment", "Job"),
        scenario=f"{moved}  from_s: {START_S}\n",
    )

    series = usage_of(site, "train").series

    assert series.at(site.start_s) == pytest.approx((0.1, 0.2))
    assert series.at(site.start_s + 300.0) == pytest.approx((0.3, 0.4))


def test_a_scenario_that_starts_at_another_time_moves_its_recording(tmp_path):
    scenario = load_scenario(write_recording(tmp_path))

    site = Site(msgspec.structs.replace(scenario, start="2027-01-01T00:00:00Z"), seed=1)

    make_run(site).advance(site.start_s + 59.0)
    assert pods_of(site) == {}
    make_run(site).advance(site.start_s + 120.0)
    assert set(pods_of(site)) == {"train-1"}


def test_what_a_deployment_used_is_not_what_a_job_of_that_name_uses(tmp_path):
    site = make_site(tmp_path, pods=[pod("a", workload="web", run_s=9.0)], usage=USAGE)

    assert usage_of(site, "a").series is None


def test_a_copy_goes_its_own_way(tmp_path):
    site = make_site(tmp_path, pods=[pod("a", after_s=60.0), pod("b", after_s=600.0)])
    run_until(site, 300.0)
    copy = site.copy()

    run_until(site, 900.0)

    assert set(pods_of(site)) == {"a", "b"}
    assert set(pods_of(copy)) == {"a"}
    run_until(copy, 900.0)
    assert set(pods_of(copy)) == {"a", "b"}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        pytest.param("  pots: pods.csv\n", "recording.pots: unknown key", id="misspelt"),
        pytest.param("  from_s: -1\n", "recording.from_s", id="before all time"),
    ],
)
def test_a_misspelt_key_is_refused_with_its_line(tmp_path, wrong, told):
    path = write_recording(tmp_path, scenario=SCENARIO + wrong)

    with pytest.raises(SettingsError, match=told) as refused:
        load_scenario(path)

    assert str(refused.value).startswith(f"{path}:8: ")


@pytest.mark.parametrize(
    ("scenario", "told"),
    [
        pytest.param("name: a\nrecording: {usage: u.csv}\n", "name a file", id="nothing"),
        pytest.param("name: a\nrecording: {pods: pods.csv}\n", "describe some", id="no nodes"),
        pytest.param(
            "name: a\nrecording: {nodes: nodes.csv, usage: u}\n", "of which pods", id="usage alone"
        ),
        pytest.param("name: a\nrecording: {nodes: gone.csv}\n", "gone.csv: No such", id="no file"),
        pytest.param(
            "name: a\nnodes: [{name: b, count: 2}]\nrecording: {nodes: nodes.csv}\n",
            "'n2' was recorded, too",
            id="one name twice",
        ),
        pytest.param(
            SCENARIO + "start: '2026-03-01T00:00:00Z'\n",
            "no pod is there from 1772323200",
            id="when",
        ),
    ],
)
def test_a_recording_that_cannot_be_run_is_refused(tmp_path, scenario, told):
    path = write_recording(tmp_path, nodes=[node("n2")], scenario=scenario)

    with pytest.raises(SettingsError, match=told):
        load_scenario(path)


def test_evaluate_takes_a_folder_with_a_scenario(tmp_path, capsys):
    write_recording(tmp_path, pods=[pod(f"p{i}", run_s=60.0) for i in range(5)])

    code = main(
        ["evaluate", "--scenario", str(tmp_path), "--policies", "kube-default", "--seeds", "1"]
    )

    assert code == 0
    assert "5 placements, 0 failed" in capsys.readouterr().out


def test_evaluate_names_the_line_of_a_malformed_row(tmp_path, capsys):
    path = write_recording(tmp_path)
    (tmp_path / "pods.csv").write_text(
        "name,created_at_s,cpu_request_milli,memory_request_bytes\na,1,2,x\n"
    )

    assert main(["evaluate", "--scenario", str(path)]) == 2
    assert f"{tmp_path / 'pods.csv'}:2: memory_request_bytes: " in capsys.readouterr().err
