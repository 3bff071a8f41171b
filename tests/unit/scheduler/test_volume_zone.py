"""VolumeZone: a volume with labels of a zone or region is to be had there alone."""

import pytest

from scheduler.framework.interface import Change, ClusterEvent, PluginArgs
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import SKIP, unresolvable
from scheduler.plugins.volumes.zone import VolumeZone
from tests.unit.scheduler.storage_worlds import (
    ZONE,
    ask,
    make_claim,
    make_class,
    make_user,
    make_volume,
    make_world,
)
from tests.unit.scheduler.worlds import make_facts

ELSEWHERE = {"node(s) had no available volume zone"}
OLD_ZONE = "failure-domain.beta.kubernetes.io/zone"
POD = make_user("web-1", "data")


def plugin():
    return VolumeZone(PluginArgs())


def labelled(**labels):
    return make_volume("pv1", meta={"labels": labels})


@pytest.mark.parametrize(
    ("labels", "refused"),
    [
        ({ZONE: "a"}, {"n2"}),
        ({ZONE: "a__b"}, set()),
        ({ZONE: "a__ b"}, set()),
        ({OLD_ZONE: "b"}, {"n1"}),
        ({ZONE: "a", "topology.kubernetes.io/region": "r"}, {"n1", "n2"}),
    ],
)
def test_a_node_in_a_zone_must_be_in_the_volumes(labels, refused):
    world = make_world(make_claim(volume="pv1"), labelled(**labels))

    assert ask(plugin(), POD, world) == dict.fromkeys(refused, ELSEWHERE)


def test_a_node_in_no_zone_passes():
    world = make_world(make_claim(volume="pv1"), labelled(**{ZONE: "a"}), zones={"n1": ""})

    assert ask(plugin(), POD, world) == {}


def test_a_nodes_label_of_old_goes_before_todays():
    snapshot = Snapshot()
    snapshot.set_node(make_facts("n1", labels={OLD_ZONE: "b", ZONE: "a"}))
    for each in (make_claim(volume="pv1"), labelled(**{OLD_ZONE: "a"})):
        snapshot.objects.put(each)

    assert ask(plugin(), POD, snapshot) == {"n1": ELSEWHERE}


@pytest.mark.parametrize(
    "objects",
    [
        [make_claim(volume="pv1"), make_volume("pv1")],
        [make_claim(volume="pv1"), labelled(**{ZONE: "a__"})],
        [make_claim(), make_class()],
    ],
    ids=["no labels", "a malformed label", "yet to be bound"],
)
def test_volumes_of_no_place_are_skipped(objects):
    assert ask(plugin(), POD, make_world(*objects)) == SKIP


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        ([], 'persistentvolumeclaim "data" not found'),
        ([make_claim(volume="pv1")], 'persistentvolume "pv1" not found'),
        ([make_claim()], 'storageclass.storage.k8s.io "late" not found'),
        ([make_claim(), make_class(mode="Immediate")], "PersistentVolume had no name"),
        (
            [make_claim(storage_class="")],
            "PersistentVolumeClaim had no pv name and storageClass name",
        ),
    ],
)
def test_says_what_is_missing(objects, why):
    assert ask(plugin(), POD, make_world(*objects)) == unresolvable(why)


@pytest.mark.parametrize(
    ("event", "before", "after", "helps"),
    [
        (ClusterEvent.CLAIM, None, make_claim("data"), True),
        (ClusterEvent.CLAIM, None, make_claim("other"), False),
        (ClusterEvent.STORAGE_CLASS, None, make_class(), True),
        (ClusterEvent.STORAGE_CLASS, None, make_class(mode="Immediate"), False),
        (ClusterEvent.STORAGE_CLASS, make_class(), make_class(), False),
        (ClusterEvent.VOLUME, None, make_volume(), True),
        (ClusterEvent.VOLUME, make_volume(), make_volume(), False),
        (ClusterEvent.VOLUME, labelled(**{ZONE: "a"}), labelled(**{ZONE: "b"}), True),
        (ClusterEvent.NODE_LABEL, None, None, True),
    ],
)
def test_wakes_for_what_may_bring_volume_and_node_together(event, before, after, helps):
    change = Change(event, before=before, after=after)

    assert plugin().may_help(POD, change=change) is helps
