"""VolumeBinding's PreBind: what is written, and how long a pod waits for it."""

import pytest
from msgspec.structs import replace

from kube.storage import BIND_COMPLETED, ClaimReference
from scheduler.framework.cycle import CycleState
from scheduler.framework.status import Code
from scheduler.plugins.volumes.binding import VolumeBinding, VolumeBindingArgs
from tests.unit.scheduler.storage_worlds import (
    ask,
    make_claim,
    make_class,
    make_user,
    make_volume,
    make_world,
)

SELECTED = "volume.kubernetes.io/selected-node"
POD = make_user("web-1", "data")


class Way:
    """A pod on its way to ``n1``, and the cluster as it changes meanwhile."""

    def __init__(self, *objects, pod=POD, **args):
        self.plugin = VolumeBinding(VolumeBindingArgs(**args))
        self.pod, self.state, self.world = pod, CycleState(), make_world(*objects)
        refused = ask(self.plugin, pod, self.world, state=self.state)
        assert "n1" not in refused
        self.plugin.reserve(self.state, pod=pod, node="n1", snapshot=self.world)

    def ask(self):
        return self.plugin.pre_bind(self.state, pod=self.pod, node="n1", snapshot=self.world)

    def put(self, found, **changes):
        """Show an object as the API server has it now."""
        meta = replace(found.metadata, resource_version="2", **changes.pop("meta", {}))
        self.world.objects.put(replace(found, metadata=meta, **changes))

    @property
    def is_promised(self):
        return self.plugin._assumed.find(self.pod.uid) is not None


def given(volume, claim):
    """The volume, given to the claim."""
    ref = ClaimReference(namespace="default", name=claim.metadata.name, uid=claim.metadata.uid)
    return replace(volume.spec, claim_ref=ref)


def test_a_chosen_volume_is_given_to_the_claim_and_waited_for():
    claim, volume = make_claim(), make_volume("pv1", zones=["a"])
    way = Way(claim, volume, make_class())

    first = way.ask()

    assert first.status.code is Code.WAIT
    (write,) = first.writes
    assert write.path == "/api/v1/persistentvolumes/pv1"
    assert write.body == {
        "metadata": {
            "resourceVersion": "1",
            "annotations": {"pv.kubernetes.io/bound-by-controller": "yes"},
        },
        "spec": {
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": "default",
                "name": "data",
                "uid": claim.metadata.uid,
                "resourceVersion": "1",
            }
        },
    }
    assert (way.ask().status.code, way.ask().writes) == (Code.WAIT, ())

    way.put(volume, spec=given(volume, claim))
    assert way.ask().status.code is Code.WAIT

    way.put(make_claim(volume="pv1"))
    assert way.ask().status.is_success
    assert not way.is_promised


def test_a_volume_that_a_person_set_aside_keeps_saying_so():
    claim = make_claim()
    unsigned = ClaimReference(namespace="default", name="data")
    way = Way(claim, make_volume("pv1", claim_ref=unsigned, phase="Available"), make_class())

    (write,) = way.ask().writes

    assert "annotations" not in write.body["metadata"]


def test_a_volume_that_is_the_claims_already_needs_no_write():
    claim = make_claim()
    way = Way(claim, make_volume("pv1", claim=claim), make_class())

    found = way.ask()

    assert (found.status.code, found.writes) == (Code.WAIT, ())


def test_a_volume_to_be_provisioned_has_its_node_selected_and_is_waited_for():
    claim = make_claim()
    way = Way(claim, make_class(), bind_timeout_seconds=30)

    first = way.ask()

    assert (first.status.code, first.timeout_s) == (Code.WAIT, 30.0)
    (write,) = first.writes
    assert write.path == "/api/v1/namespaces/default/persistentvolumeclaims/data"
    assert write.body == {"metadata": {"resourceVersion": "1", "annotations": {SELECTED: "n1"}}}
    assert (way.ask().status.code, way.ask().writes) == (Code.WAIT, ())

    way.put(make_claim(annotations={SELECTED: "n1"}))
    assert way.ask().status.code is Code.WAIT

    way.put(make_claim(volume="pv1", annotations={SELECTED: "n1"}))
    assert way.ask().status.code is Code.WAIT

    way.put(make_volume("pv1", zones=["a"], claim=claim))
    assert way.ask().status.is_success


def test_a_claim_that_was_sent_to_the_node_before_is_just_waited_for():
    way = Way(make_claim(annotations={SELECTED: "n1"}), make_class())

    found = way.ask()

    assert (found.status.code, found.writes) == (Code.WAIT, ())


def failing_provision(way):
    way.put(make_claim())


def failing_elsewhere(way):
    way.put(make_volume("pv1", zones=["b"]))
    way.put(make_claim(volume="pv1", annotations={SELECTED: "n1"}))


def failing_lost(way):
    way.put(make_volume("pv1"))
    way.put(make_claim(volume="pv1", phase="Lost", annotations={SELECTED: "n1"}))


def failing_gone(way):
    way.world.objects.remove(type(make_claim()), "default/data")


def failing_node(way):
    way.world.remove_node("n1")


@pytest.mark.parametrize(
    ("fail", "why"),
    [
        (failing_provision, 'provisioning failed for PVC "data"'),
        (failing_elsewhere, 'pv "pv1" node affinity doesn\'t match node "n1"'),
        (failing_lost, 'persistentvolumeclaim "data" lost its volume'),
        (failing_gone, 'persistentvolumeclaim "data" not found'),
        (failing_node, 'failed to get node "n1"'),
    ],
)
def test_a_provisioning_that_comes_to_nothing_gives_the_node_up(fail, why):
    way = Way(make_claim(), make_class())
    way.ask()

    fail(way)

    status = way.ask().status
    assert (status.code, status.reasons) == (Code.ERROR, (f"binding volumes: {why}",))


def test_a_volume_that_is_taken_back_gives_the_node_up():
    volume = make_volume("pv1")
    way = Way(make_claim(), volume, make_class())
    way.ask()

    way.put(volume)

    assert way.ask().status.reasons == ('binding volumes: ClaimRef got reset for pv "pv1"',)


def test_a_volume_that_was_deleted_gives_the_node_up_before_anything_is_written():
    way = Way(make_claim(), make_volume("pv1"), make_class())
    way.world.objects.remove(type(make_volume()), "pv1")

    found = way.ask()

    assert found.writes == ()
    assert found.status.reasons == ('binding volumes: persistentvolume "pv1" not found',)


def test_nothing_is_written_for_a_node_that_is_gone():
    way = Way(make_claim(), make_class())
    way.world.remove_node("n1")

    found = way.ask()

    assert (found.status.code, found.writes) == (Code.ERROR, ())


def test_bound_claims_need_no_wait():
    claim = make_claim(volume="pv1")
    assert BIND_COMPLETED in claim.metadata.annotations

    way = Way(claim, make_volume("pv1", claim=claim))

    assert not way.is_promised
    assert way.ask().status.is_success
