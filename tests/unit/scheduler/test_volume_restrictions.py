"""VolumeRestrictions: disks and claims that two pods cannot have at once."""

import pytest

from kube.objects import (
    AwsVolumeSource,
    CinderVolumeSource,
    GceVolumeSource,
    IscsiVolumeSource,
    RbdVolumeSource,
    Volume,
)
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import Change, ClusterEvent, PluginArgs
from scheduler.framework.status import SKIP, unresolvable
from scheduler.plugins.volumes.restrictions import VolumeRestrictions
from tests.unit.scheduler.storage_worlds import (
    ask,
    make_claim,
    make_user,
    make_world,
    refusals,
)

NO_DISK = {"node(s) had no available disk"}
IN_USE = {
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode "
    "already in-use by another pod"
}


def plugin():
    return VolumeRestrictions(PluginArgs())


def gce(*, ro):
    return Volume(name="v", gce_persistent_disk=GceVolumeSource(pd_name="d", read_only=ro))


def aws(*, ro):
    return Volume(name="v", aws_elastic_block_store=AwsVolumeSource(volume_id="d", read_only=ro))


def iscsi(*, ro):
    return Volume(name="v", iscsi=IscsiVolumeSource(iqn="d", read_only=ro))


def rbd(*monitors, ro, image="d"):
    source = RbdVolumeSource(monitors=list(monitors), image=image, read_only=ro)
    return Volume(name="v", rbd=source)


@pytest.mark.parametrize(
    ("held", "wanted", "is_refused"),
    [
        (gce(ro=True), gce(ro=True), False),
        (gce(ro=True), gce(ro=False), True),
        (gce(ro=False), gce(ro=True), True),
        (aws(ro=True), aws(ro=True), True),
        (iscsi(ro=True), iscsi(ro=True), False),
        (iscsi(ro=False), iscsi(ro=True), True),
        (rbd("m1", "m2", ro=False), rbd("m2", "m3", ro=True), True),
        (rbd("m1", ro=False), rbd("m2", ro=False), False),
        (rbd("m1", ro=False), rbd("m1", image="other", ro=False), False),
        (rbd("m1", ro=True), rbd("m1", ro=True), False),
        (gce(ro=False), iscsi(ro=False), False),
    ],
)
def test_a_node_lends_a_disk_once_unless_all_only_read_it(held, wanted, is_refused):
    world = make_world(pods=[(make_user("holder", volumes=[held]), "n1")])

    found = ask(plugin(), make_user(volumes=[wanted]), world)

    assert found == ({"n1": NO_DISK} if is_refused else {})


def test_a_disk_that_only_counts_is_in_nobodys_way():
    cinder = Volume(name="v", cinder=CinderVolumeSource(volume_id="d"))
    world = make_world(pods=[(make_user("holder", volumes=[cinder]), "n1")])

    assert ask(plugin(), make_user(volumes=[cinder]), world) == {}


def test_a_missing_claim_refuses_the_pod():
    found = ask(plugin(), make_user("web-1", "data"), make_world())

    assert found == unresolvable('persistentvolumeclaim "data" not found')


def test_a_claim_for_one_pod_is_refused_everywhere_while_another_uses_it():
    claim = make_claim(volume="pv1", access_modes=["ReadWriteOncePod"])
    holder = make_user("holder", "data")
    world = make_world(claim, pods=[(holder, "n1")])

    found = ask(plugin(), make_user("web-1", "data"), world)

    assert found == {"n1": IN_USE, "n2": IN_USE}


def test_evicting_the_one_that_uses_the_claim_would_help_on_its_node():
    claim = make_claim(volume="pv1", access_modes=["ReadWriteOncePod"])
    holder, pod = make_user("holder", "data"), make_user("web-1", "data")
    world, state = make_world(claim, pods=[(holder, "n1")]), CycleState()
    ask(plugin(), pod, world, state=state)

    what_if = world.what_if()
    what_if.remove_pod(holder, node="n1")

    assert refusals(plugin(), pod, what_if, state=state) == {"n2": IN_USE}


@pytest.mark.parametrize("modes", [["ReadWriteOncePod"], ["ReadWriteMany"]])
def test_a_pod_in_nobodys_way_is_skipped(modes):
    world = make_world(make_claim(access_modes=modes))

    assert ask(plugin(), make_user("web-1", "data"), world) == SKIP


@pytest.mark.parametrize(
    ("change", "helps"),
    [
        (Change(ClusterEvent.CLAIM, after=make_claim("data")), True),
        (Change(ClusterEvent.CLAIM, after=make_claim("other")), False),
        (Change(ClusterEvent.CLAIM, before=make_claim(), after=make_claim()), False),
        (Change(ClusterEvent.ASSIGNED_POD_DELETE, before=make_user("gone", "data")), True),
        (Change(ClusterEvent.ASSIGNED_POD_DELETE, before=make_user("gone", "other")), False),
        (
            Change(
                ClusterEvent.ASSIGNED_POD_DELETE, before=make_user("g", volumes=[gce(ro=False)])
            ),
            True,
        ),
        (
            Change(ClusterEvent.ASSIGNED_POD_DELETE, before=make_user("g", volumes=[gce(ro=True)])),
            False,
        ),
        (Change(ClusterEvent.NODE_ADD), True),
    ],
)
def test_wakes_for_its_claims_and_for_what_others_give_back(change, helps):
    pod = make_user("web-1", "data", volumes=[gce(ro=True)])

    assert plugin().may_help(pod, change=change) is helps
