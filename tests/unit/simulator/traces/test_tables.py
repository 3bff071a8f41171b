"""Files of recorded nodes and pods: what is read, and how a malformed row is told."""

import gzip
import re
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scheduler.simulator.traces import tables
from scheduler.simulator.traces.recorder import UsageRow
from scheduler.simulator.traces.rows import NodeRow, PodRow
from scheduler.simulator.traces.tables import TraceError, read_nodes, read_pods, write_rows

PODS = "name,created_at_s,cpu_request_milli,memory_request_bytes"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def refusal(read, path):
    with pytest.raises(TraceError) as refused:
        read(path)
    return str(refused.value)


def test_pods_come_in_order_of_their_creation(tmp_path):
    path = write(tmp_path / "pods.csv", f"{PODS}\nb,20,500,1024\na,10,250,2048\n")

    assert read_pods(path) == (
        PodRow(name="a", created_at_s=10, cpu_request_milli=250, memory_request_bytes=2048),
        PodRow(name="b", created_at_s=20, cpu_request_milli=500, memory_request_bytes=1024),
    )


def test_what_is_written_is_what_is_read(tmp_path):
    node = NodeRow(
        name="n1",
        cpu_milli=4000,
        memory_bytes=2**33,
        allocatable_cpu_milli=3900,
        labels="disk=ssd,topology.kubernetes.io/zone=a",
        taints="gpu=yes:NoSchedule,spot:PreferNoSchedule",
    )
    pod = PodRow(
        name="web-1",
        namespace="shop",
        workload="web",
        created_at_s=10.25,
        ended_at_s=20,
        cpu_request_milli=1,
        memory_request_bytes=2,
        cpu_limit_milli=3,
        priority=-5,
        constraints='{"nodeSelector":{"disk":"ssd, or not"}}',
    )

    write_rows(tmp_path / "nodes.csv", [node], kind=NodeRow)
    write_rows(tmp_path / "pods.csv", [pod], kind=PodRow)

    assert read_nodes(tmp_path / "nodes.csv") == (node,)
    assert read_pods(tmp_path / "pods.csv") == (pod,)
    assert node.label_map == {"disk": "ssd", "topology.kubernetes.io/zone": "a"}
    assert node.taint_list == [("gpu", "yes", "NoSchedule"), ("spot", "", "PreferNoSchedule")]
    assert pod.constraint_fields == {"nodeSelector": {"disk": "ssd, or not"}}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        pytest.param({}, "Pod", id="by itself"),
        pytest.param({"workload": "w"}, "Deployment", id="a replica"),
        pytest.param({"workload": "w", "run_s": 5.0}, "Job", id="work"),
        pytest.param({"workload": "w", "workload_kind": "StatefulSet"}, "StatefulSet", id="told"),
    ],
)
def test_the_kind_of_a_workload_follows_from_what_is_told(fields, kind):
    pod = PodRow(name="a", created_at_s=0, cpu_request_milli=1, memory_request_bytes=1, **fields)

    assert pod.kind == kind


def test_parquet_holds_the_same_columns_with_gaps(tmp_path):
    path = tmp_path / "pods.parquet"
    table = pa.table(
        {
            "name": ["a", "b"],
            "created_at_s": [1, 2],
            "cpu_request_milli": [100, 200],
            "memory_request_bytes": [1, 2],
            "run_s": [None, 2.5],
            "cpu_limit_milli": [300, None],
            "workload": [None, "w"],
        }
    )
    pq.write_table(table, path)

    a, b = read_pods(path)

    assert (a.run_s, a.cpu_limit_milli, a.workload) == (None, 300, "")
    assert (b.run_s, b.cpu_limit_milli, b.workload) == (2.5, None, "w")


def test_compressed_csv_is_read(tmp_path):
    path = tmp_path / "nodes.csv.gz"
    path.write_bytes(gzip.compress(b"name,cpu_milli,memory_bytes\nn1,1,2\n"))

    assert read_nodes(path) == (NodeRow(name="n1", cpu_milli=1, memory_bytes=2),)


@pytest.mark.parametrize(
    ("columns", "row", "told"),
    [
        pytest.param("", "a,1,x,1", ":3: cpu_request_milli: ", id="no number"),
        pytest.param("", "a,1,1.5,1", ":3: cpu_request_milli: ", id="half a millicore"),
        pytest.param("", "a,-1,1,1", ":3: created_at_s: ", id="before all time"),
        pytest.param("", "a,1772409600000,1,1", ":3: created_at_s: ", id="milliseconds"),
        pytest.param("", "A_b,1,1,1", ":3: name: ", id="no name"),
        pytest.param("", "a,1,,1", ":3: ", id="nothing where something is needed"),
        pytest.param("", "a,1,1", ":3: 3 fields", id="too short"),
        pytest.param(",run_s", "a,1,1,1,0", ":3: run_s: ", id="no work"),
        pytest.param(",ended_at_s", "a,5,1,1,4", ":3: ended_at_s: ", id="ended before it began"),
        pytest.param(",run_s,ended_at_s", "a,1,1,1,2,9", ":3: ended_at_s: ", id="two ends"),
        pytest.param(",cpu_limit_milli", "a,1,9,1,8", ":3: cpu_limit_milli: ", id="low limit"),
        pytest.param(",labels", "a,1,1,1,x", ":3: labels: ", id="no label"),
        pytest.param(",workload_kind", "a,1,1,1,Job", ":3: workload_kind: ", id="whose kind"),
        pytest.param(",constraints", "a,1,1,1,{", ":3: constraints: ", id="no json"),
        pytest.param(
            ",constraints", 'a,1,1,1,"{""env"": []}"', ":3: constraints: ", id="no constraint"
        ),
    ],
)
def test_a_malformed_row_names_file_line_and_column(tmp_path, columns, row, told):
    good = "a,1,1,1" + ",,"[: columns.count(",")]
    path = write(tmp_path / "pods.csv", f"{PODS}{columns}\n{good}\n{row}\n")

    assert refusal(read_pods, path).startswith(f"{path}{told}")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        pytest.param(f"{PODS},prioritty", "unknown column 'prioritty'; known are name,", id="typo"),
        pytest.param("name,created_at_s", "'cpu_request_milli' is missing", id="too few"),
        pytest.param(f"{PODS},name", "twice", id="twice"),
    ],
)
def test_a_wrong_header_is_told(tmp_path, header, told):
    path = write(tmp_path / "pods.csv", f"{header}\n")

    assert f"{path}:1: " in refusal(read_pods, path)
    assert told in refusal(read_pods, path)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        pytest.param("n1,1,1,,", ":3: name: ", id="twice"),
        pytest.param("n2,1,1,2,", ":3: allocatable_cpu_milli: ", id="more than there is"),
        pytest.param("n2,1,1,,gpu:Never", ":3: taints: ", id="no taint"),
    ],
)
def test_a_malformed_node_is_told(tmp_path, row, told):
    header = "name,cpu_milli,memory_bytes,allocatable_cpu_milli,taints"
    path = write(tmp_path / "nodes.csv", f"{header}\nn1,1,1,,\n{row}\n")

    assert refusal(read_nodes, path).startswith(f"{path}{told}")


def test_files_without_rows_or_of_other_kinds_are_refused(tmp_path):
    assert "no rows" in refusal(read_pods, write(tmp_path / "pods.csv", f"{PODS}\n"))
    assert "must end in" in refusal(read_pods, write(tmp_path / "pods.txt", PODS))
    assert "No such file" in refusal(read_pods, tmp_path / "gone.csv")


def test_more_rows_than_fit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_PODS", 2)
    path = write(tmp_path / "pods.csv", f"{PODS}\n" + 3 * "a,1,1,1\n")

    assert refusal(read_pods, path) == f"{path}:4: more than 2 rows"


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        pytest.param("Nodes", NodeRow, id="nodes"),
        pytest.param("Pods", PodRow, id="pods"),
        pytest.param("Usage", UsageRow, id="usage"),
    ],
)
def test_every_column_is_documented(title, kind):
    text = (Path(tables.__file__).parents[1] / "TRACES.md").read_text()
    section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (yes)?", section, re.MULTILINE)
    fields = {field.name: field for field in msgspec.structs.fields(kind)}

    assert {name for name, _ in rows} == set(fields)
    assert all(fields[name].required for name, is_needed in rows if is_needed)
    if kind is not UsageRow:
        assert {name for name, is_needed in rows if is_needed} == {
            name for name, field in fields.items() if field.required
        }
        numbers = {"Nodes": tables.MAX_NODES, "Pods": tables.MAX_PODS}
        assert f"At most {numbers[title]:,} rows." in section
