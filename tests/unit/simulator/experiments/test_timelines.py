"""Series over time, bounded however long a run takes."""

import numpy as np
import pytest

from scheduler.simulator.experiments.timelines import MAX_BINS, MAX_ROWS, TimelineKeeper
from tests.simulator_world import make_sim_node

LOOK_S = 60.0


def keeper(*, n_nodes=2):
    """Of nodes of 4 cores."""
    names = [f"n{i + 1}" for i in range(n_nodes)]
    return TimelineKeeper({name: make_sim_node(name) for name in names}, look_s=LOOK_S)


def pod(uid="a", *, node=None, phase="Pending", cpu="1"):
    containers = [{"name": "app", "resources": {"requests": {"cpu": cpu}}}, {"name": "bare"}]
    spec = {"containers": containers} | ({"nodeName": node} if node else {})
    return {"metadata": {"uid": uid}, "spec": spec, "status": {"phase": phase}}


def look(subject, *, used=(1000.0, 3000.0), nodes=("n1", "n2"), n_troubles=0):
    subject.look(nodes, used_milli=np.array(used), n_troubles=n_troubles)


def result(subject, *, pending_s=(), lacking_ratios=()):
    return subject.result(pending_s=pending_s, lacking_ratios=lacking_ratios)


def test_tells_what_is_used_requested_and_waited_for():
    subject = keeper()
    for each in (pod("a"), pod("b", node="n1"), pod("c", node="n2", cpu="500m"), pod("d")):
        subject.see(each)
    look(subject)
    subject.see(pod("a", node="n1", cpu="2500m"))
    subject.see(pod("b", node="n1", phase="Succeeded"))
    subject.lose("c")
    look(subject, used=(2000.0,), nodes=("n2",), n_troubles=3)

    lines = result(subject)

    assert lines.bin_h == pytest.approx(1 / 60)
    assert lines.cpu_used_ratio == [0.5, 0.25]
    assert lines.cpu_requested_ratio == [0.1875, 0.3125]
    assert lines.n_pending == [2.0, 1.0]
    assert lines.troubles_per_h == [0.0, 180.0]
    assert lines.heat.nodes == ["n1", "n2"]
    assert lines.heat.cpu_percent == [[25, 0], [75, 50]]


@pytest.mark.parametrize("n_looks", [1, MAX_BINS - 1, MAX_BINS, 1000, 5000])
def test_bins_grow_as_time_does(n_looks):
    subject = keeper()
    for number in range(n_looks):
        look(subject, n_troubles=number + 1)

    lines = result(subject)

    assert len(lines.cpu_used_ratio) <= MAX_BINS
    assert 0.0 <= len(lines.n_pending) * lines.bin_h - n_looks / 60 < lines.bin_h
    assert set(lines.cpu_used_ratio) == {0.5}
    assert set(lines.troubles_per_h) == {60.0}


def test_many_nodes_share_rows_in_the_order_of_their_numbers():
    subject = keeper(n_nodes=100)
    look(subject, used=[4000.0] * 4, nodes=["n1", "n2", "n3", "n4"])

    heat = result(subject).heat

    assert len(heat.nodes) <= MAX_ROWS
    assert heat.nodes[:3] == ["n1", "n5", "n9"]
    assert heat.cpu_percent[0] == [100]
    assert heat.cpu_percent[1] == [0]


def test_tells_how_pods_fared_by_quantiles():
    lines = keeper()
    look(lines)
    lines = result(lines, pending_s=[0.0] * 50 + [10.0] * 51)

    assert len(lines.pending_quantiles_s) == 101
    assert lines.pending_quantiles_s[49] == 0.0
    assert lines.pending_quantiles_s[50] == 10.0
    assert lines.lacking_quantiles_ratio == []


def test_a_node_that_came_later_is_left_out_of_the_rows():
    subject = keeper()
    look(subject, used=(1000.0, 9000.0), nodes=("n1", "new"))

    assert result(subject).heat.cpu_percent == [[25], [0]]
