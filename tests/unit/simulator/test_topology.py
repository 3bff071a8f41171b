"""NUMA zones: what a kubelet's managers of resources give out, and to whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.qos import Qos
from kube.quantity import CPU, MEMORY
from scheduler.model import ContainerFacts, PodFacts
from scheduler.plugins.numa.demand import has_exclusive
from scheduler.simulator.hardware import MAX_ZONES, NodeSpec, Numa
from scheduler.simulator.kubelet.hints import hints_for, merge
from scheduler.simulator.kubelet.topology import Refusal, allot
from scheduler.simulator.kubelet.zones import Allotment, Zones

GI = 2**30
GPU = "example.com/gpu"
POLICIES = ("none", "best-effort", "restricted", "single-numa-node")


def make_numa(policy="single-numa-node", *, zones=2, **fields):
    return Numa(zones=zones, policy=policy, **fields)


def make_zones(numa, *, cores=8, memory=16 * GI, devices=0, **fields):
    defaults = {"reserved_cpu_milli": 0, "reserved_memory_bytes": 0, "eviction_hard_bytes": 0}
    spec = NodeSpec(
        name="n1", cpu_milli=1000 * cores, memory_bytes=memory, **{**defaults, **fields}
    )
    return Zones.of(spec, numa=numa, devices={GPU: devices} if devices else {})


def container(cpu_milli=0, *, memory=GI, gpu=0, is_brief=False):
    amounts = ((CPU, cpu_milli), (MEMORY, memory), (GPU, gpu))
    return ContainerFacts(tuple(each for each in amounts if each[1]), is_brief)


def pod(*containers, qos=Qos.GUARANTEED):
    return PodFacts(namespace="default", name="p", uid="p", qos=qos, containers=containers)


def cores_of(found):
    return [milli // 1000 for milli in found.amounts.get(CPU, (0, 0))]


def held(*cores, **more):
    amounts = {CPU: tuple(1000 * n for n in cores), **more}
    return Allotment(amounts, is_listed=True)


def admitted(found):
    return isinstance(found, Allotment)


# --- what zones have


@pytest.mark.parametrize(
    ("zones", "reserved_milli", "capacity", "allocatable"),
    [
        pytest.param(2, 0, (4000, 4000), (4000, 4000), id="even"),
        pytest.param(2, 100, (4000, 4000), (3000, 4000), id="whole cores of the first zone"),
        pytest.param(4, 3000, (2000,) * 4, (0, 1000, 2000, 2000), id="more than the first has"),
        pytest.param(1, 1000, (8000,), (7000,), id="one zone"),
    ],
)
def test_what_is_reserved_is_taken_from_the_first_zones(
    zones, reserved_milli, capacity, allocatable
):
    found = make_zones(make_numa(zones=zones), reserved_cpu_milli=reserved_milli)

    assert found.capacity[CPU] == capacity
    assert found.allocatable[CPU] == allocatable


def test_devices_are_divided_if_they_lie_in_zones():
    inside = make_zones(make_numa(devices=(GPU,)), devices=3)
    outside = make_zones(make_numa(), devices=3)

    assert inside.capacity[GPU] == inside.allocatable[GPU] == (2, 1)
    assert GPU not in outside.capacity


def test_devices_that_are_gone_leave_nothing_free():
    zones = make_zones(make_numa(devices=(GPU,)), devices=2)

    free = zones.free([held(1, 0, **{GPU: (2, 0), "example.com/unplugged": (1, 1)})])

    assert free[GPU] == [0, 1]
    assert free[CPU] == [3000, 4000]


# --- hints


@pytest.mark.parametrize(
    ("amount", "free", "must", "hints"),
    [
        pytest.param(2, (4, 4), 0, {0b01: True, 0b10: True, 0b11: False}, id="any zone"),
        pytest.param(3, (2, 4), 0, {0b10: True, 0b11: False}, id="the second zone"),
        pytest.param(3, (2, 2), 0, {0b11: False}, id="both, though one would do if it were free"),
        pytest.param(6, (3, 4), 0, {0b11: True}, id="both, as none is large enough"),
        pytest.param(3, (1, 1), 0, {}, id="nowhere"),
        pytest.param(2, (4, 4), 0b10, {0b10: True, 0b11: False}, id="with what is to be reused"),
    ],
)
def test_hints_name_zones_with_enough_and_prefer_as_few_as_would_ever_do(amount, free, must, hints):
    assert hints_for(amount, free=free, total=(4, 4), must=must) == hints


@pytest.mark.parametrize(
    ("hints", "policy", "zones", "is_preferred"),
    [
        pytest.param([], "single-numa-node", 0b11, True, id="nothing is asked for"),
        pytest.param(
            [{0b01: True, 0b10: True, 0b11: False}, {0b10: True, 0b11: False}],
            "single-numa-node",
            0b10,
            True,
            id="the zone that all prefer",
        ),
        pytest.param(
            [{0b01: True, 0b10: True, 0b11: False}] * 2,
            "restricted",
            0b01,
            True,
            id="the lowest of several",
        ),
        pytest.param(
            [{0b11: True}], "single-numa-node", 0b11, False, id="preferred, but more than one"
        ),
        pytest.param([{0b11: True}], "restricted", 0b11, True, id="preferred, of several"),
        pytest.param(
            [{0b01: True, 0b11: False}, {0b10: True, 0b11: False}],
            "best-effort",
            0b01,
            False,
            id="where two cannot agree, one has its way",
        ),
        pytest.param(
            [{0b11: False}, {0b01: True, 0b10: True, 0b11: False}],
            "best-effort",
            0b11,
            False,
            id="the neediest wants two",
        ),
        pytest.param([{}, {0b10: True}], "restricted", 0b10, False, id="one has none"),
        pytest.param([{}], "best-effort", 0b11, False, id="there is none at all"),
        pytest.param(
            [{0b01: True}, {0b10: True}],
            "restricted",
            0b11,
            False,
            id="they have nothing in common",
        ),
    ],
)
def test_hints_are_merged_as_the_topology_manager_does(hints, policy, zones, is_preferred):
    assert merge(hints, n_zones=2, policy=policy) == (zones, is_preferred)


def test_hints_for_as_many_zones_as_a_kubelet_copes_with_are_merged_at_once():
    everything = hints_for(3, free=[1] * MAX_ZONES, total=[1] * MAX_ZONES)

    assert merge([everything] * 3, n_zones=MAX_ZONES, policy="restricted") == (0b111, True)


# --- who is admitted


@pytest.mark.parametrize(
    ("policy", "cores"),
    [
        ("none", [1, 1]),
        ("best-effort", [1, 1]),
        ("restricted", None),
        ("single-numa-node", None),
    ],
)
def test_cores_that_only_two_zones_have_are_given_out_by_some_policies(policy, cores):
    numa = make_numa(policy)
    others = [held(3, 0), held(0, 3)]

    found = allot(pod(container(2000)), numa=numa, zones=make_zones(numa), held=others)

    if cores is None:
        message = "Resources cannot be allocated with Topology locality"
        assert found == Refusal("TopologyAffinityError", message)
    else:
        assert cores_of(found) == cores


@pytest.mark.parametrize(
    ("policy", "cores"),
    [("none", [4, 2]), ("best-effort", [4, 2]), ("restricted", [4, 2]), ("single-numa-node", None)],
)
def test_a_pod_larger_than_any_zone_has_several_unless_one_is_all_that_counts(policy, cores):
    numa = make_numa(policy)
    large = container(6000, memory=10 * GI)

    found = allot(pod(large), numa=numa, zones=make_zones(numa), held=[])

    assert (cores_of(found) if admitted(found) else None) == cores


def test_who_is_strict_wants_as_many_zones_for_the_memory_as_for_the_cores():
    numa = make_numa("restricted")

    found = allot(pod(container(6000, memory=GI)), numa=numa, zones=make_zones(numa), held=[])

    assert not admitted(found)


@pytest.mark.parametrize(
    ("found_of", "amounts"),
    [
        pytest.param(pod(container(1500)), {MEMORY: (GI, 0)}, id="no whole cores"),
        pytest.param(pod(container(2000), qos=Qos.BURSTABLE), {}, id="burstable"),
        pytest.param(pod(qos=Qos.BEST_EFFORT), {}, id="best effort"),
        pytest.param(
            pod(container(500, gpu=1), qos=Qos.BURSTABLE), {GPU: (1, 0)}, id="a device of its own"
        ),
        pytest.param(
            pod(container(2000, gpu=1)),
            {CPU: (2000, 0), MEMORY: (GI, 0), GPU: (1, 0)},
            id="guaranteed",
        ),
    ],
)
def test_only_what_is_a_pods_own_is_of_a_zone(found_of, amounts):
    numa = make_numa(devices=(GPU,))

    found = allot(found_of, numa=numa, zones=make_zones(numa, devices=2), held=[])

    assert found.amounts == amounts
    assert found.is_listed == bool(amounts)


def test_a_pod_of_the_shared_pool_is_admitted_where_no_zone_has_anything_left():
    numa = make_numa()
    full = held(4, 4, **{MEMORY: (8 * GI, 8 * GI)})

    shared = pod(container(1000), qos=Qos.BURSTABLE)

    assert admitted(allot(shared, numa=numa, zones=make_zones(numa), held=[full]))


@pytest.mark.parametrize("resource", [MEMORY, GPU])
def test_all_that_a_container_asks_for_is_in_one_zone(resource):
    numa = make_numa(devices=(GPU,))
    zones = make_zones(numa, devices=2)
    taken = {MEMORY: (8 * GI, 0), GPU: (1, 0)}[resource]

    first = allot(
        pod(container(1000, gpu=1)), numa=numa, zones=zones, held=[held(0, 0, **{resource: taken})]
    )
    second = allot(
        pod(container(1000, gpu=1)), numa=numa, zones=zones, held=[held(0, 4, **{resource: taken})]
    )

    assert cores_of(first) == [0, 1]
    assert not admitted(second)


@pytest.mark.parametrize(("scope", "is_admitted"), [("container", True), ("pod", False)])
def test_scope_says_whether_containers_may_be_in_zones_of_their_own(scope, is_admitted):
    numa = make_numa(scope=scope)
    found = allot(pod(container(3000), container(3000)), numa=numa, zones=make_zones(numa), held=[])

    assert admitted(found) == is_admitted
    if is_admitted:
        assert cores_of(found) == [3, 3]


def test_what_an_init_container_had_is_used_again():
    numa = make_numa()
    starts = (container(4000, is_brief=True), container(2000, is_brief=True), container(3000))

    found = allot(pod(*starts), numa=numa, zones=make_zones(numa), held=[])

    assert cores_of(found) == [4, 0]


def test_a_container_must_take_the_zone_of_the_init_container_before_it():
    numa = make_numa()
    starts = (container(1000, is_brief=True), container(4000))

    found = allot(pod(*starts), numa=numa, zones=make_zones(numa), held=[held(1, 0)])

    assert not admitted(found)


@pytest.mark.parametrize("scope", ["container", "pod"])
def test_a_sidecar_keeps_what_it_has(scope):
    numa = make_numa(scope=scope)
    starts = (container(1000), container(3000, is_brief=True), container(2000))

    found = allot(pod(*starts), numa=numa, zones=make_zones(numa), held=[])

    assert cores_of(found) == [4, 0]


def test_what_init_containers_alone_have_is_not_told_to_agents():
    numa = make_numa(devices=(GPU,))
    first = container(0, memory=0, gpu=1, is_brief=True)

    found = allot(
        pod(first, container(500), qos=Qos.BURSTABLE),
        numa=numa,
        zones=make_zones(numa, devices=2),
        held=[],
    )

    assert found == Allotment({GPU: (1, 0)}, is_listed=False)


@pytest.mark.parametrize(
    ("other", "cores"),
    [
        pytest.param(held(0, 0, 0), [4, 1, 0], id="whole zones first"),
        pytest.param(held(0, 3, 0), [4, 1, 0], id="then the one that is used the most"),
        pytest.param(held(1, 0, 2), [0, 4, 1], id="wherever they are"),
        pytest.param(held(1, 1, 1), [3, 2, 0], id="no zone is wholly free"),
    ],
)
def test_cores_are_taken_from_whole_zones_and_then_from_used_ones(other, cores):
    numa = make_numa("none", zones=3)
    zones = make_zones(numa, cores=12)

    found = allot(pod(container(5000)), numa=numa, zones=zones, held=[other])

    assert cores_of(found) == cores


def test_memory_is_of_few_zones_where_nobody_aligns_it():
    numa = make_numa("none")
    others = [held(0, 0, **{MEMORY: (7 * GI, 0)})]

    found = allot(
        pod(container(1000, memory=2 * GI)), numa=numa, zones=make_zones(numa), held=others
    )

    assert found.amounts[MEMORY] == (0, 2 * GI)


@pytest.mark.parametrize(
    ("taken", "why"),
    [
        pytest.param(
            {CPU: (4000, 3000)},
            "not enough cpus available to satisfy request: requested=2, available=1",
            id="cpu",
        ),
        pytest.param(
            {MEMORY: (8 * GI, 8 * GI)},
            "[memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough"
            " memory is available",
            id="memory",
        ),
        pytest.param(
            {GPU: (1, 1)},
            "requested number of devices unavailable for example.com/gpu. "
            "Requested: 1, Available: 0",
            id="devices",
        ),
    ],
)
def test_a_manager_says_so_where_nobody_asked_it_before(taken, why):
    numa = make_numa("none", devices=(GPU,))

    found = allot(
        pod(container(2000, gpu=1)),
        numa=numa,
        zones=make_zones(numa, devices=2),
        held=[Allotment(taken, is_listed=True)],
    )

    message = f"Allocate failed due to {why}, which is unexpected"
    assert found == Refusal("UnexpectedAdmissionError", message)


# --- laws

containers = st.builds(
    container,
    st.integers(0, 6).map(lambda n: 500 * n),
    memory=st.integers(0, 4).map(lambda n: n * GI),
    gpu=st.integers(0, 2),
    is_brief=st.booleans(),
)
pods = st.builds(
    lambda each, qos: pod(*each, qos=qos),
    # Init containers come first.
    st.lists(containers, min_size=1, max_size=3).map(lambda e: sorted(e, key=lambda c: not c[1])),
    st.sampled_from([Qos.GUARANTEED, Qos.GUARANTEED, Qos.BURSTABLE]),
)
numas = st.builds(
    Numa,
    zones=st.sampled_from([1, 2, 4]),
    policy=st.sampled_from(POLICIES),
    scope=st.sampled_from(["container", "pod"]),
    devices=st.just((GPU,)),
)
comings_and_goings = st.lists(st.tuples(pods, st.booleans(), st.integers(0, 9)), max_size=20)


@given(numa=numas, steps=comings_and_goings)
def test_no_zone_gives_out_more_than_it_has_and_all_comes_back(numa, steps):
    zones = make_zones(numa, devices=4)
    empty = zones.free([])
    there = []
    for wanted, leaves, which in steps:
        if leaves and there:
            there.pop(which % len(there))
            continue
        found = allot(wanted, numa=numa, zones=zones, held=there)
        if admitted(found):
            there.append(found)
        for resource, amounts in zones.allocatable.items():
            nothing = (0,) * numa.zones
            taken = [nothing, *(other.amounts.get(resource, nothing) for other in there)]
            sums = map(sum, zip(*taken, strict=True))
            assert all(0 <= n <= most for n, most in zip(sums, amounts, strict=True))

    assert zones.free([]) == empty


@given(numa=numas, wanted=pods)
def test_a_pod_has_all_that_its_containers_need_at_the_same_time(numa, wanted):
    zones = make_zones(numa, devices=4)

    found = allot(wanted, numa=numa, zones=zones, held=[])

    if admitted(found):
        lasting = [c for c in wanted.containers if not c.is_brief]
        if wanted.qos is Qos.GUARANTEED:
            memory = sum(dict(c.requests).get(MEMORY, 0) for c in lasting)
            assert sum(found.amounts.get(MEMORY, ())) >= memory
        gpus = sum(dict(c.requests).get(GPU, 0) for c in lasting)
        assert sum(found.amounts.get(GPU, ())) >= gpus
        assert found.is_listed == has_exclusive(wanted, zone_resources=zones.capacity)


@given(wanted=pods, others=st.lists(pods, max_size=6), zones=st.sampled_from([2, 4]))
def test_who_wants_one_zone_gets_one_for_each_container(wanted, others, zones):
    numa = make_numa(zones=zones, devices=(GPU,))
    node = make_zones(numa, devices=4)
    there = []
    for other in others:
        found = allot(other, numa=numa, zones=node, held=there)
        there += [found] if admitted(found) else []
    single = pod(*wanted.containers[:1], qos=wanted.qos)

    found = allot(single, numa=numa, zones=node, held=there)

    if admitted(found):
        used = {z for amounts in found.amounts.values() for z, n in enumerate(amounts) if n}
        assert len(used) <= 1
