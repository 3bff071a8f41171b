"""VolumeBinding: volumes that a pod can have on its node, and those that must be made first."""

import pytest
from msgspec.structs import replace

from kube.objects import LabelSelector, OwnerReference
from kube.storage import (
    ClaimReference,
    CsiDriver,
    CsiDriverSpec,
    CsiStorageCapacity,
)
from scheduler.framework.checks import check_filter_plugin
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import Change, ClusterEvent
from scheduler.framework.status import SKIP, unresolvable
from scheduler.plugins.scoring_strategies import UtilizationShapePoint
from scheduler.plugins.volumes.binding import VolumeBinding, VolumeBindingArgs
from tests.builders import at, make_meta
from tests.unit.scheduler.storage_worlds import (
    DRIVER,
    EPHEMERAL,
    ZONE,
    ask,
    make_claim,
    make_class,
    make_csi_node,
    make_user,
    make_volume,
    make_world,
)

NODE_CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
BIND_CONFLICT = "node(s) didn't find available persistent volumes to bind"
NO_SPACE = "node(s) did not have enough free storage"
NO_VOLUME = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
BY_HAND = "kubernetes.io/no-provisioner"
SELECTED = "volume.kubernetes.io/selected-node"
POD = make_user("web-1", "data")


def plugin(**args):
    return VolumeBinding(VolumeBindingArgs(**args))


def chosen(world, pod=POD, *, node="n1", binding=None):
    """What would be bound and provisioned for the pod on a node."""
    binding, state = binding or plugin(), CycleState()
    refused = ask(binding, pod, world, state=state)
    assert node not in refused
    binding.reserve(state, pod=pod, node=node, snapshot=world)
    reservation = binding._assumed.find(pod.uid)
    return dict(reservation.bindings), reservation.provisions


def capacity(zone, size, *, name="", maximum=None):
    return CsiStorageCapacity(
        metadata=make_meta(name or f"left-in-{zone}", namespace="kube-system"),
        storage_class_name="late",
        node_topology=LabelSelector(match_labels={ZONE: zone} if zone else None),
        capacity=size,
        maximum_volume_size=maximum,
    )


def accounting(*, keeps=True):
    return CsiDriver(metadata=make_meta(DRIVER), spec=CsiDriverSpec(storage_capacity=keeps))


def make_prebound_claim():
    """A claim that names its volume, which the volume controller has yet to confirm."""
    claim = make_claim(volume="pv1", phase="Pending")
    return replace(claim, metadata=replace(claim.metadata, annotations=None))


# ------------------------------------------------------------------------------------ PreFilter


def test_a_pod_without_claims_is_skipped():
    assert ask(plugin(), make_user(), make_world()) == SKIP


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        ([], 'persistentvolumeclaim "data" not found'),
        (
            [make_claim(volume="pv1", phase="Lost")],
            'persistentvolumeclaim "data" bound to non-existent persistentvolume "pv1"',
        ),
        (
            [make_claim(meta={"deletion_timestamp": at(1)})],
            'persistentvolumeclaim "data" is being deleted',
        ),
        ([make_claim()], UNBOUND),
        ([make_claim(storage_class="")], UNBOUND),
        ([make_claim(), make_class(mode="Immediate")], UNBOUND),
        ([make_class(), make_prebound_claim()], UNBOUND),
    ],
)
def test_claims_that_nobody_can_bind_refuse_the_pod(objects, why):
    assert ask(plugin(), POD, make_world(*objects)) == unresolvable(why)


def test_an_ephemeral_volume_waits_for_its_claim_which_must_be_its_own():
    pod = make_user("web-1", volumes=[EPHEMERAL])
    owner = OwnerReference(kind="Pod", name=pod.name, uid=pod.uid, controller=True)
    foreign = make_claim("web-1-scratch")
    own = make_claim("web-1-scratch", meta={"owner_references": [owner]})

    assert ask(plugin(), pod, make_world()) == unresolvable(
        "waiting for ephemeral volume controller to create the persistentvolumeclaim "
        '"web-1-scratch"'
    )
    assert ask(plugin(), pod, make_world(foreign, make_class())) == unresolvable(
        "PVC default/web-1-scratch was not created for pod default/web-1 (pod is not owner)"
    )
    assert ask(plugin(), pod, make_world(own, make_class())) == {}


# --------------------------------------------------------------------------------- bound claims


def test_a_bound_volume_draws_the_pod_to_where_it_is():
    claim = make_claim(volume="pv1")
    world = make_world(claim, make_volume("pv1", claim=claim, zones=["b"]))

    assert ask(plugin(), POD, world) == {"n1": {NODE_CONFLICT}}


def test_a_volume_without_affinity_is_everywhere():
    claim = make_claim(volume="pv1")

    assert ask(plugin(), POD, make_world(claim, make_volume("pv1", claim=claim))) == {}


def test_a_node_hears_of_the_first_volume_that_it_lacks():
    first, second = make_claim("first", volume="pv1"), make_claim("second", volume="gone")
    world = make_world(first, second, make_volume("pv1", claim=first, zones=["b"]))

    found = ask(plugin(), make_user("web-1", "first", "second"), world)

    assert found == {"n1": {NODE_CONFLICT}, "n2": {NO_VOLUME}}


def test_bound_and_waiting_claims_each_have_their_reason():
    bound, waiting = make_claim("bound", volume="pv1"), make_claim("waiting")
    world = make_world(
        bound,
        waiting,
        make_volume("pv1", claim=bound, zones=["b"]),
        make_class(provisioner=BY_HAND),
    )

    found = ask(plugin(), make_user("web-1", "bound", "waiting"), world)

    assert found == {"n1": {NODE_CONFLICT, BIND_CONFLICT}, "n2": {BIND_CONFLICT}}


# ------------------------------------------------------------------------------- existing volumes


def test_the_smallest_volume_that_suits_is_chosen():
    world = make_world(
        make_claim(),
        make_class(provisioner=BY_HAND),
        make_volume("small", size="1Gi", zones=["a"]),
        make_volume("large", size="20Gi", zones=["a"]),
        make_volume("fits", size="6Gi", zones=["a"]),
        make_volume("elsewhere", size="5Gi", zones=["b"]),
    )

    assert ask(plugin(), POD, world) == {}
    assert chosen(world, node="n1") == ({"default/data": "fits"}, ())
    assert chosen(world, node="n2") == ({"default/data": "elsewhere"}, ())


@pytest.mark.parametrize(
    "unsuitable",
    [
        {"size": "4Gi"},
        {"storage_class": "other"},
        {"phase": "Released"},
        {"volume_mode": "Block"},
        {"volume_attributes_class_name": "gold"},
        {"meta": {"deletion_timestamp": at(1)}},
        {"claim": make_claim("other")},
        {"zones": ["c"]},
    ],
    ids=str,
)
def test_a_volume_that_does_not_suit_is_left(unsuitable):
    world = make_world(
        make_claim(), make_class(provisioner=BY_HAND), make_volume(**{"name": "pv1", **unsuitable})
    )

    assert ask(plugin(), POD, world) == {"n1": {BIND_CONFLICT}, "n2": {BIND_CONFLICT}}


@pytest.mark.parametrize(
    ("claim", "is_refused"),
    [
        (make_claim(selector=LabelSelector(match_labels={"disk": "ssd"})), False),
        (make_claim(selector=LabelSelector(match_labels={"disk": "hdd"})), True),
        (make_claim(access_modes=["ReadWriteOnce", "ReadWriteMany"]), True),
        (make_claim(size=None), False),
    ],
)
def test_a_claim_says_which_volumes_suit(claim, is_refused):
    volume = make_volume("pv1", meta={"labels": {"disk": "ssd"}})
    world = make_world(claim, make_class(provisioner=BY_HAND), volume)

    assert bool(ask(plugin(), POD, world)) is is_refused


def test_a_volume_that_is_set_aside_for_the_claim_is_taken_or_none():
    claim = make_claim()
    own = make_volume("own", size="50Gi", claim=claim, phase="Available", zones=["a"])
    world = make_world(claim, own, make_class(provisioner=BY_HAND), make_volume("free"))

    assert ask(plugin(), POD, world) == {"n2": {BIND_CONFLICT}}
    assert chosen(world) == ({"default/data": "own"}, ())


def test_a_volume_that_was_set_aside_for_an_earlier_claim_of_the_name_is_not():
    stale = ClaimReference(namespace="default", name="data", uid="another")
    world = make_world(
        make_claim(), make_class(provisioner=BY_HAND), make_volume("old", claim_ref=stale)
    )

    assert ask(plugin(), POD, world) == {"n1": {BIND_CONFLICT}, "n2": {BIND_CONFLICT}}


def test_two_claims_get_two_volumes_and_the_small_claim_the_small_one():
    world = make_world(
        make_claim("large", size="8Gi"),
        make_claim("small", size="1Gi"),
        make_class(provisioner=BY_HAND),
        make_volume("ten", size="10Gi", zones=["a", "b"]),
        make_volume("nine", size="9Gi", zones=["a"]),
    )
    pod = make_user("web-1", "large", "small")

    assert ask(plugin(), pod, world) == {"n2": {BIND_CONFLICT}}
    assert chosen(world, pod) == ({"default/small": "nine", "default/large": "ten"}, ())


def test_volumes_of_single_nodes_are_found_by_their_label():
    zones = {f"n{i}": f"z{i}" for i in range(50)}
    volumes = [make_volume(f"pv{i}", zones=[f"z{i}"]) for i in range(0, 50, 2)]
    world = make_world(make_claim(), make_class(provisioner=BY_HAND), *volumes, zones=zones)

    refused = ask(plugin(), POD, world)

    assert refused == {f"n{i}": {BIND_CONFLICT} for i in range(1, 50, 2)}
    assert chosen(world, node="n8") == ({"default/data": "pv8"}, ())


# ---------------------------------------------------------------------------------- provisioning


def test_what_is_not_there_is_provisioned_where_the_class_allows():
    world = make_world(make_claim(), make_class(zones=["b", "c"]))

    assert ask(plugin(), POD, world) == {"n1": {BIND_CONFLICT}}
    assert chosen(world, node="n2") == ({}, ("default/data",))


def test_a_claim_whose_node_is_selected_goes_nowhere_else():
    world = make_world(make_claim(annotations={SELECTED: "n2"}), make_class(), make_volume("pv1"))

    assert ask(plugin(), POD, world) == {"n1": {BIND_CONFLICT}}
    assert chosen(world, node="n2") == ({}, ("default/data",))


@pytest.mark.parametrize(
    ("left", "refused"),
    [
        ([], {"n1", "n2"}),
        ([capacity("a", "5Gi"), capacity("b", "4Gi")], {"n2"}),
        ([capacity("a", "50Gi", maximum="1Gi"), capacity("b", "5Gi")], {"n1"}),
        ([capacity("", "5Gi")], set()),
        ([capacity("a", None)], {"n1", "n2"}),
    ],
    ids=["nothing", "by capacity", "by the largest volume", "everywhere", "not told"],
)
def test_a_driver_that_keeps_account_needs_storage_left(left, refused):
    world = make_world(make_claim(), make_class(), accounting(), *left)

    assert ask(plugin(), POD, world) == {name: {NO_SPACE} for name in refused}


@pytest.mark.parametrize("objects", [[accounting(keeps=False)], []])
def test_a_driver_that_keeps_no_account_is_trusted(objects):
    assert ask(plugin(), POD, make_world(make_claim(), make_class(), *objects)) == {}


# --------------------------------------------------------------------------------------- promises


def test_a_promised_volume_is_not_given_to_the_next_pod():
    binding = plugin()
    world = make_world(
        make_claim(),
        make_claim("other"),
        make_class(provisioner=BY_HAND),
        make_volume("pv1", zones=["a"]),
        make_volume("pv2", zones=["b"]),
    )
    other = make_user("web-2", "other")
    chosen(world, node="n1", binding=binding)

    assert ask(binding, other, world) == {"n1": {BIND_CONFLICT}}

    binding.unreserve(CycleState(), pod=POD, node="n1")
    binding.unreserve(CycleState(), pod=POD, node="n1")

    assert ask(binding, other, world) == {}


def test_a_pod_that_shares_a_claim_follows_the_promise():
    binding = plugin()
    by_hand = make_world(
        make_claim(),
        make_class(provisioner=BY_HAND),
        make_volume("pv1", zones=["a"]),
        make_volume("pv2", zones=["b"]),
    )
    chosen(by_hand, node="n1", binding=binding)

    assert ask(binding, make_user("web-2", "data"), by_hand) == {"n2": {BIND_CONFLICT}}


def test_a_pod_that_shares_a_claim_follows_the_provisioner():
    binding, world = plugin(), make_world(make_claim(), make_class())
    chosen(world, node="n2", binding=binding)

    assert ask(binding, make_user("web-2", "data"), world) == {"n1": {BIND_CONFLICT}}


def test_two_pods_that_looked_at_once_do_not_get_one_volume():
    binding, world = (
        plugin(),
        make_world(
            make_claim(), make_claim("other"), make_class(provisioner=BY_HAND), make_volume("pv1")
        ),
    )
    other, states = make_user("web-2", "other"), (CycleState(), CycleState())
    ask(binding, POD, world, state=states[0])
    ask(binding, other, world, state=states[1])

    first = binding.reserve(states[0], pod=POD, node="n1", snapshot=world)
    second = binding.reserve(states[1], pod=other, node="n1", snapshot=world)

    assert (first.is_success, second.reasons) == (True, (BIND_CONFLICT,))


def test_a_pod_without_claims_needs_no_reservation():
    binding, world, state = plugin(), make_world(), CycleState()
    pod = make_user()

    assert ask(binding, pod, world, state=state) == SKIP
    assert binding.reserve(state, pod=pod, node="n1", snapshot=world).is_success
    assert binding.pre_bind(state, pod=pod, node="n1", snapshot=world).status.is_success


# ------------------------------------------------------------------------------------------ rest


def scored(world, *, pod=POD):
    shape = (
        UtilizationShapePoint(utilization=0, score=10),
        UtilizationShapePoint(utilization=100, score=0),
    )
    binding, state = plugin(shape=shape), CycleState()
    ask(binding, pod, world, state=state)
    return binding.score(state, pod=pod, snapshot=world).tolist()


def test_storage_earns_no_score_unless_a_shape_says_so():
    world, state, binding = make_world(make_claim(), make_class()), CycleState(), plugin()
    ask(binding, POD, world, state=state)

    assert binding.pre_score(state, pod=POD, snapshot=world, feasible=None).is_skip


def test_a_shape_rates_how_full_the_chosen_volumes_would_be():
    world = make_world(
        make_claim(),
        make_class(),
        make_volume("pv1", size="10Gi", zones=["a"]),
        make_volume("pv2", size="20Gi", zones=["b"]),
    )

    assert scored(world) == [50, 75]


def test_a_shape_rates_how_full_the_storage_would_be_that_volumes_come_from():
    world = make_world(
        make_claim(),
        make_claim("more"),
        make_class(),
        accounting(),
        capacity("a", "100Gi"),
        capacity("b", "20Gi"),
    )

    assert scored(world, pod=make_user("web-1", "data", "more")) == [90, 50]


def test_a_shape_must_grow():
    falling = [UtilizationShapePoint(utilization=u, score=1) for u in (50, 10)]

    with pytest.raises(ValueError, match="must grow"):
        VolumeBindingArgs(shape=tuple(falling))


def test_keeps_the_contract_with_a_shape():
    check_filter_plugin(plugin(shape=(UtilizationShapePoint(utilization=0, score=10),)))


@pytest.mark.parametrize(
    ("event", "before", "after", "helps"),
    [
        (ClusterEvent.CLAIM, None, make_claim("data"), True),
        (ClusterEvent.CLAIM, make_claim("data"), make_claim("data"), True),
        (ClusterEvent.CLAIM, None, make_claim("other"), False),
        (ClusterEvent.VOLUME, make_volume(), make_volume(), True),
        (ClusterEvent.STORAGE_CLASS, None, make_class(), True),
        (ClusterEvent.STORAGE_CLASS, make_class(), make_class(), False),
        (ClusterEvent.STORAGE_CLASS, make_class(), make_class(zones=["a"]), True),
        (
            ClusterEvent.CSI_NODE,
            make_csi_node("n1", count=1),
            make_csi_node("n1", count=9),
            False,
        ),
        (ClusterEvent.CSI_DRIVER, accounting(), accounting(keeps=False), True),
        (ClusterEvent.CSI_DRIVER, accounting(), accounting(), False),
        (ClusterEvent.CSI_STORAGE_CAPACITY, None, capacity("a", "1Gi"), True),
        (ClusterEvent.CSI_STORAGE_CAPACITY, capacity("a", "1Gi"), capacity("a", "2Gi"), True),
        (ClusterEvent.CSI_STORAGE_CAPACITY, capacity("a", "2Gi"), capacity("a", "1Gi"), False),
    ],
)
def test_wakes_for_what_offers_more(event, before, after, helps):
    assert plugin().may_help(POD, change=Change(event, before=before, after=after)) is helps
