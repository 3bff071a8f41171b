"""ImageLocality, and the columns that it asks for."""

import numpy as np
import pytest

from scheduler.framework.cycle import CycleState
from scheduler.framework.images import _MAX_IMAGES
from scheduler.framework.interface import PluginArgs
from scheduler.framework.status import SKIP, SUCCESS
from scheduler.plugins.image_locality import ImageLocality, normalized
from tests.unit.scheduler.worlds import make_facts, make_pending, make_snapshot

MI = 2**20
WEB = "docker.io/library/web:1"


def holding(name, **images_mi):
    return make_facts(name, images={image: size * MI for image, size in images_mi.items()})


def scores(*nodes, images=(WEB,), n_containers=1):
    pod = make_pending(images=images, n_containers=n_containers)
    plugin = ImageLocality(PluginArgs())
    return plugin.score(CycleState(), pod=pod, snapshot=make_snapshot(*nodes)).tolist()


def test_follows_upstreams_example():
    nodes = [holding(f"n{i}", **({WEB: 500} if i < 2 else {})) for i in range(4)]

    assert scores(*nodes) == [23, 23, 0, 0]


@pytest.mark.parametrize(
    ("size_mi", "expected"),
    [
        pytest.param(23, 0, id="too small to matter"),
        pytest.param(1000, 100, id="large"),
        pytest.param(5000, 100, id="no more than large"),
    ],
)
def test_sizes_count_within_bounds(size_mi, expected):
    assert scores(holding("n1", **{WEB: size_mi})) == [expected]


def test_all_containers_images_count_together():
    other = "docker.io/library/other:1"
    node = holding("n1", **{WEB: 1000, other: 500})

    # 1500 MiB of at most 2000, less the threshold.
    assert scores(node, images=(WEB, other), n_containers=2) == [74]
    # An image volume adds bytes, and no container.
    assert scores(node, images=(WEB, other), n_containers=1) == [100]


def test_the_first_known_holder_says_how_large_an_image_is():
    assert scores(holding("n1", **{WEB: 200}), holding("n2", **{WEB: 900})) == [18, 18]


@pytest.mark.parametrize(
    ("images", "n_containers", "expected"),
    [
        pytest.param((WEB,), 1, SUCCESS, id="some node holds it"),
        pytest.param(("other:1",), 1, SKIP, id="no node holds it"),
        pytest.param((), 1, SKIP, id="no image"),
        pytest.param((WEB,), 0, SKIP, id="no container"),
    ],
)
def test_pods_whose_images_are_nowhere_are_not_rated(images, n_containers, expected):
    snapshot = make_snapshot(holding("n1", **{WEB: 100}), holding("n2"))
    pod = make_pending(images=images, n_containers=n_containers)
    everywhere = np.ones(2, dtype=np.bool_)

    status = ImageLocality(PluginArgs()).pre_score(
        CycleState(), pod=pod, snapshot=snapshot, feasible=everywhere
    )

    assert status == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web", "web:latest"),
        ("registry:5000/web", "registry:5000/web:latest"),
        ("registry:5000/web:1", "registry:5000/web:1"),
        ("web@sha256:ab", "web@sha256:ab"),
    ],
)
def test_a_name_without_tag_means_the_latest(name, expected):
    assert normalized(name) == expected


def test_images_are_followed_as_nodes_come_change_and_go():
    snapshot = make_snapshot(
        holding("n1", **{WEB: 100}), holding("n2"), holding("n3", **{WEB: 300})
    )
    assert snapshot.image(WEB).nodes.tolist() == [True, False, True]

    snapshot.set_node(holding("n2", **{WEB: 200}))
    snapshot.set_node(holding("n1"))
    assert snapshot.image(WEB).nodes.tolist() == [False, True, True]
    assert snapshot.image(WEB).size_bytes == 100 * MI

    snapshot.remove_node("n1")
    assert dict(zip(snapshot.names, snapshot.image(WEB).nodes.tolist(), strict=True)) == {
        "n2": True,
        "n3": True,
    }

    snapshot.remove_node("n2")
    snapshot.remove_node("n3")
    snapshot.set_node(holding("n4", **{WEB: 400}))
    assert snapshot.image(WEB) == (400 * MI, [True])


def test_images_that_nobody_asks_for_any_more_are_dropped():
    snapshot = make_snapshot(holding("n1", **{WEB: 100}))
    snapshot.image(WEB)

    for number in range(2 * _MAX_IMAGES):
        snapshot.image(f"image-{number}")

    assert len(snapshot._images._sizes) == _MAX_IMAGES
    assert snapshot._images._holders.present() == []
    assert snapshot.image(WEB).nodes.tolist() == [True]
