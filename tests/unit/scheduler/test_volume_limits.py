"""NodeVolumeLimits: a CSI driver attaches only so many volumes to a node."""

import pytest

from kube.objects import AwsVolumeSource, Volume
from kube.storage import (
    CsiNode,
    CsiNodeAllocatable,
    CsiNodeDriver,
    CsiNodeSpec,
    VolumeAttachment,
    VolumeAttachmentSource,
    VolumeAttachmentSpec,
)
from scheduler.framework.interface import Change, ClusterEvent, PluginArgs
from scheduler.framework.status import SKIP
from scheduler.plugins.volumes.limits import NodeVolumeLimits
from tests.builders import make_meta
from tests.unit.scheduler.storage_worlds import (
    DRIVER,
    EPHEMERAL,
    ask,
    make_claim,
    make_class,
    make_csi_node,
    make_user,
    make_volume,
    make_world,
)

FULL = {"node(s) exceed max volume count"}
POD = make_user("web-1", "data")


def plugin():
    return NodeVolumeLimits(PluginArgs())


def bound(*names):
    """Claims, each bound to the volume ``pv-of-<claim>``."""
    claims = [make_claim(name, volume=f"pv-of-{name}") for name in names]
    return [*claims, *(make_volume(c.spec.volume_name, claim=c) for c in claims)]


def attachment(volume, *, node="n1", attacher=DRIVER):
    return VolumeAttachment(
        metadata=make_meta(f"attachment-of-{volume}"),
        spec=VolumeAttachmentSpec(
            attacher=attacher,
            node_name=node,
            source=VolumeAttachmentSource(persistent_volume_name=volume),
        ),
    )


@pytest.mark.parametrize(("count", "is_full"), [(1, True), (2, False), (None, False), (0, True)])
def test_a_node_takes_as_many_volumes_as_its_driver_says(count, is_full):
    world = make_world(
        *bound("data", "other"),
        make_csi_node("n1", count=count),
        pods=[(make_user("holder", "other"), "n1")],
    )

    assert ask(plugin(), POD, world) == ({"n1": FULL} if is_full else {})


def test_a_volume_that_is_on_the_node_already_counts_once():
    world = make_world(
        *bound("data"),
        make_csi_node("n1", count=1),
        pods=[(make_user("holder", "data"), "n1")],
    )

    assert ask(plugin(), POD, world) == {}


def test_what_is_attached_counts_though_its_pod_is_gone():
    world = make_world(
        *bound("data", "other"), make_csi_node("n1", count=1), attachment("pv-of-other")
    )

    assert ask(plugin(), POD, world) == {"n1": FULL}


def test_the_pods_own_volume_may_be_attached_already():
    world = make_world(*bound("data"), make_csi_node("n1", count=1), attachment("pv-of-data"))

    assert ask(plugin(), POD, world) == {}


def test_another_drivers_volumes_do_not_count():
    world = make_world(
        *bound("data", "other"),
        make_csi_node("n1", count=1),
        attachment("pv-of-other", attacher="csi.other.com"),
    )

    assert ask(plugin(), POD, world) == {}


def test_a_volume_that_is_yet_to_be_provisioned_counts_for_its_class():
    world = make_world(make_class(), make_claim(), make_csi_node("n1", count=0))

    assert ask(plugin(), POD, world) == {"n1": FULL}


def test_two_claims_need_two_places():
    world = make_world(*bound("data", "more"), make_csi_node("n1", count=1))

    assert ask(plugin(), make_user("web-1", "data", "more"), world) == {"n1": FULL}


def test_pods_that_leave_make_room_in_a_what_if():
    holder = make_user("holder", "other")
    world = make_world(*bound("data", "other"), make_csi_node("n1", count=1), pods=[(holder, "n1")])
    what_if = world.what_if()
    what_if.remove_pod(holder, node="n1")

    assert ask(plugin(), POD, what_if) == {}


@pytest.mark.parametrize(("plugins", "is_full"), [("kubernetes.io/aws-ebs", True), ("", False)])
def test_an_in_tree_disk_counts_where_a_driver_stands_in_for_its_plugin(plugins, is_full):
    disk = Volume(name="v", aws_elastic_block_store=AwsVolumeSource(volume_id="aws://a/vol-1"))
    annotations = {"storage.alpha.kubernetes.io/migrated-plugins": plugins}
    allocatable = CsiNodeAllocatable(count=0)
    driver = CsiNodeDriver(name="ebs.csi.aws.com", allocatable=allocatable)
    node = CsiNode(
        metadata=make_meta("n1", annotations=annotations), spec=CsiNodeSpec(drivers=[driver])
    )

    found = ask(plugin(), make_user(volumes=[disk]), make_world(node))

    assert found == ({"n1": FULL} if is_full else {})


def test_a_pod_without_volumes_is_skipped():
    assert ask(plugin(), make_user(), make_world()) == SKIP


def test_a_pod_whose_claim_is_not_there_is_refused_with_what_was_looked_for():
    found = ask(plugin(), POD, make_world(zones={"n1": "a"}))

    why = 'looking up PVC default/data: persistentvolumeclaim "data" not found'
    assert found == {"n1": {why}}


def test_the_claim_of_an_ephemeral_volume_must_be_the_pods_own():
    world = make_world(make_claim("web-1-scratch"), zones={"n1": "a"})

    found = ask(plugin(), make_user("web-1", volumes=[EPHEMERAL]), world)

    why = "PVC default/web-1-scratch was not created for pod default/web-1 (pod is not owner)"
    assert found == {"n1": {why}}


@pytest.mark.parametrize(
    ("change", "helps"),
    [
        (Change(ClusterEvent.CSI_NODE, after=make_csi_node("n1", count=1)), True),
        (
            Change(
                ClusterEvent.CSI_NODE,
                before=make_csi_node("n1", count=1),
                after=make_csi_node("n1", count=2),
            ),
            True,
        ),
        (
            Change(
                ClusterEvent.CSI_NODE,
                before=make_csi_node("n1", count=2),
                after=make_csi_node("n1", count=2),
            ),
            False,
        ),
        (Change(ClusterEvent.ASSIGNED_POD_DELETE, before=make_user("gone", "x")), True),
        (Change(ClusterEvent.ASSIGNED_POD_DELETE, before=make_user("gone")), False),
        (Change(ClusterEvent.CLAIM, after=make_claim("data")), True),
        (Change(ClusterEvent.CLAIM, after=make_claim("other")), False),
        (Change(ClusterEvent.VOLUME_ATTACHMENT_DELETE, before=attachment("pv1")), True),
    ],
)
def test_wakes_for_larger_limits_and_for_volumes_that_leave(change, helps):
    assert plugin().may_help(POD, change=change) is helps
