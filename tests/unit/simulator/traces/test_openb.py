"""Reading the GPU trace: what it says, and where it is malformed."""

import numpy as np
import pytest

from scheduler.simulator.traces.openb import (
    read_nodes,
    read_orders,
    read_pods,
    read_published,
    variants,
)
from scheduler.simulator.traces.text_tables import TraceFileError

NODES = "openb_node_list_gpu_node.csv"
PODS = "openb_pod_list_x.csv"
ORDER = "openb_order_x.csv"
CURVES = ("fgd_paper_alloc_pct.csv", "fgd_paper_frag_pct.csv")
NODE_HEAD = "sn,cpu_milli,memory_mib,gpu,model"
POD_HEAD = "name,cpu_milli,memory_mib,num_gpu,gpu_milli"
TAIL = ",gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time"
CURVE_HEAD = "trace,policy,seed," + ",".join(map(str, range(131)))


def write(folder, name, *lines):
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def curve(first, *, trace="x", policy="FGD", seed=42):
    return ",".join([trace, policy, str(seed), str(first), *["1.5"] * 130])


def test_reads_nodes(tmp_path):
    write(tmp_path, NODES, NODE_HEAD, "a,64000,1024,2,P100", "b,32000,2048,0,")

    first, second = read_nodes(tmp_path)

    assert (first.name, first.cpu_milli, first.memory_bytes) == ("a", 64_000, 2**30)
    assert (first.n_cards, first.model) == (2, "P100")
    assert (second.n_cards, second.model) == (0, "")


def test_reads_pods_with_all_that_is_told(tmp_path):
    write(tmp_path, PODS, POD_HEAD + TAIL, "p,12000,16,1,460,T4|G2,LS,Pending,5,9,")

    [pod] = read_pods(tmp_path, variant="x")

    assert (pod.cpu_milli, pod.memory_bytes, pod.n_cards, pod.card_milli) == (12_000, 2**24, 1, 460)
    assert (pod.gpu_spec, pod.qos, pod.phase) == ("T4|G2", "LS", "Pending")
    assert (pod.created_at_s, pod.deleted_at_s, pod.scheduled_at_s) == (5, 9, None)


def test_reads_pods_without_the_last_columns(tmp_path):
    write(tmp_path, PODS, POD_HEAD, "p,12000,0,8,1000", "q,100,0,0,0")

    whole, cpu = read_pods(tmp_path, variant="x")

    assert (whole.n_cards, whole.gpu_spec, whole.qos, whole.created_at_s) == (8, "", "", None)
    assert (cpu.n_cards, cpu.card_milli) == (0, 0)


def test_finds_variants_packed_or_not(tmp_path):
    for name in ("multigpu20.csv.gz", "default.csv", "cpu050.csv.gz", "notes.txt"):
        (tmp_path / f"openb_pod_list_{name}").touch()

    assert variants(tmp_path) == ["default", "cpu050", "multigpu20"]


def test_reads_orders_by_seed(tmp_path):
    lines = ("42,pods,1 0 1", "42,node_rank,7 3", "43,pods,0", "43,node_rank,0 1")
    write(tmp_path, ORDER, "seed,kind,values", *lines)

    orders = read_orders(tmp_path, variant="x", n_pods=2, n_nodes=2)

    assert list(orders) == [42, 43]
    assert orders[42].pods.tolist() == [1, 0, 1]
    assert orders[42].node_ranks.tolist() == [7, 3]
    assert read_orders(tmp_path, variant="y", n_pods=2, n_nodes=2) == {}


def test_reads_curves_of_one_variant(tmp_path):
    for name in CURVES:
        write(tmp_path, name, CURVE_HEAD, curve(0.25), curve("", seed=43), curve(9, trace="y"))

    published = read_published(tmp_path, variant="x")

    assert list(published) == [("FGD", 42), ("FGD", 43)]
    assert published["FGD", 42].allocated[:2].tolist() == [0.25, 1.5]
    assert np.isnan(published["FGD", 43].fragmented[0])


def test_nothing_need_be_published(tmp_path):
    assert read_published(tmp_path, variant="x") == {}


@pytest.mark.parametrize(
    ("line", "place"),
    [
        pytest.param(
            "b,12x,1,1,T4", ":3: column cpu_milli: must be a whole number", id="no number"
        ),
        pytest.param("b,1,-1,1,T4", ":3: column memory_mib: must be", id="negative"),
        pytest.param("b,1,1,99,T4", ":3: column gpu: must be a whole number, 0 to 32", id="large"),
        pytest.param(",1,1,1,T4", ":3: column sn: is empty", id="no name"),
        pytest.param("a,1,1,1,T4", ":3: column sn: a second a", id="twice"),
        pytest.param("b,1,1,1", ":3: 4 fields, where the header has 5", id="short"),
        pytest.param("b,²,1,1,T4", ":3: column cpu_milli", id="no digit"),
    ],
)
def test_names_the_place_of_a_malformed_node(tmp_path, line, place):
    write(tmp_path, NODES, NODE_HEAD, "a,64000,1024,2,P100", line)

    with pytest.raises(TraceFileError) as raised:
        read_nodes(tmp_path)

    assert str(raised.value).startswith(str(tmp_path / NODES) + place)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        pytest.param("p,1,1,2,500,,,,,,", ":2: column gpu_milli: several cards", id="parts of two"),
        pytest.param("p,1,1,0,500,,,,,,", ":2: column gpu_milli: 500 milli of", id="of no card"),
        pytest.param("p,1,1,1,1001,,,,,,", ":2: column gpu_milli: must be", id="more than a card"),
        pytest.param("p,1,1,1,9,,,,soon,,", ":2: column creation_time: must be", id="no time"),
        pytest.param("p,1,1,0,0,,,,,,", ": no pod asks for a card", id="only CPU pods"),
    ],
)
def test_names_the_place_of_a_malformed_pod(tmp_path, line, place):
    write(tmp_path, PODS, POD_HEAD + TAIL, line)

    with pytest.raises(TraceFileError) as raised:
        read_pods(tmp_path, variant="x")

    assert str(raised.value).startswith(str(tmp_path / PODS) + place)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        pytest.param(
            ["42,pods,0 2"], ":2: column values: must be a whole number, 0 to 1", id="pod"
        ),
        pytest.param(["42,node_rank,0"], ":2: column values: must be 2 different", id="too few"),
        pytest.param(["42,node_rank,1 1"], ":2: column values: must be 2 different", id="twice"),
        pytest.param(["42,nodes,0"], ":2: column kind: must be one of", id="kind"),
        pytest.param(
            ["42,pods,0"], ": seed 42 needs a row of pods and one of node_rank", id="half"
        ),
        pytest.param(["4,pods,0", "4,pods,1"], ":3: column kind: a second pods of", id="again"),
    ],
)
def test_names_the_place_of_a_malformed_order(tmp_path, lines, problem):
    write(tmp_path, ORDER, "seed,kind,values", *lines)

    with pytest.raises(TraceFileError) as raised:
        read_orders(tmp_path, variant="x", n_pods=2, n_nodes=2)

    assert str(raised.value).startswith(str(tmp_path / ORDER) + problem)


def test_names_the_place_of_a_malformed_curve(tmp_path):
    for name in CURVES:
        write(tmp_path, name, CURVE_HEAD, curve(1), curve("much"))

    with pytest.raises(TraceFileError, match=r"alloc_pct\.csv:3: column 0: must be a number"):
        read_published(tmp_path, variant="x")


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        pytest.param(lambda f: variants(f / "no"), "no such folder", id="no folder"),
        pytest.param(variants, "has no openb_pod_list_", id="no variant"),
        pytest.param(read_nodes, "has neither", id="no nodes"),
        pytest.param(lambda f: read_pods(f, variant="y"), "has neither", id="no pods"),
        pytest.param(lambda f: read_pods(f, variant="x"), ":1: no column num_gpu", id="no column"),
    ],
)
def test_says_what_is_missing(tmp_path, read, problem):
    if "column" in problem:
        write(tmp_path, PODS, "name,cpu_milli,memory_mib,gpu_milli", "p,1,1,0")

    with pytest.raises(TraceFileError, match=problem):
        read(tmp_path)


def test_a_broken_archive_names_its_file(tmp_path):
    (tmp_path / (NODES + ".gz")).write_bytes(b"no archive")

    with pytest.raises(TraceFileError, match=r"gpu_node\.csv\.gz"):
        read_nodes(tmp_path)
