"""GpuShare: which nodes and cards pods get, and what is known of cards when others look."""

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.events import Evict, ReportFailure, WriteFirst
from scheduler.framework.checks import check_filter_plugin, check_score_plugin
from scheduler.framework.configuration import load_configuration
from scheduler.framework.cycle import CycleState
from scheduler.framework.status import Code
from scheduler.model import GPU_COUNT, GPU_INDEX, GPU_MILLI, NodeFacts, PodFacts
from scheduler.plugins.gpu.asks import ask_of, cards_of
from scheduler.plugins.gpu.books import CardBook
from scheduler.plugins.gpu.columns import GpuNodes, GpuPod
from scheduler.plugins.gpu.fragmentation import TypicalWorkload
from scheduler.plugins.gpu.policies import POLICIES, PolicyContext
from scheduler.plugins.gpu.share import ExpectedPod, GpuShare, GpuShareArgs
from scheduler.simulator.reproduce.replay import REJECTED, replay
from tests.builders import make_pod
from tests.unit.scheduler.gpu_worlds import GpuWorld, make_gpu_node, make_gpu_pod
from tests.unit.scheduler.worlds import make_pending, make_snapshot

EXAMPLE = (
    ExpectedPod(cpu_milli=4000, gpu_milli=500, gpu_count=1, count=2),
    ExpectedPod(cpu_milli=8000, gpu_milli=1000, gpu_count=2),
    ExpectedPod(cpu_milli=4000),
)
"""Of the formulas' examples: half of the pods, a quarter, a quarter."""

DETERMINISTIC = [name for name in POLICIES if name != "random"]


def running(name, milli=1000, count=1, **more):
    return make_gpu_pod(name, milli, count, scheduled_at_s=1.0, **more)


def free(plugin_or_book, snapshot):
    book = plugin_or_book if isinstance(plugin_or_book, CardBook) else CardBook()
    book.follow(snapshot)
    return book.nodes(snapshot).free_card_milli.tolist()


def verdicts(plugin, pod, snapshot):
    state = CycleState()
    result = plugin.pre_filter(state, pod=pod, snapshot=snapshot)
    assert result.status.is_success, result.status
    found = plugin.filter(state, pod=pod, snapshot=snapshot)
    return found.codes.tolist() if found else [0] * snapshot.n_nodes


def scores(plugin, pod, snapshot):
    state, everywhere = CycleState(), np.ones(snapshot.n_nodes, dtype=np.bool_)
    status = plugin.pre_score(state, pod=pod, snapshot=snapshot, feasible=everywhere)
    return None if status.is_skip else plugin.score(state, pod=pod, snapshot=snapshot).tolist()


# ------------------------------------------------------------------------------ the contract


@pytest.mark.parametrize("policy", DETERMINISTIC)
def test_keeps_the_contract(policy):
    check_filter_plugin(GpuShare(GpuShareArgs(policy=policy)))
    check_score_plugin(GpuShare(GpuShareArgs(policy=policy)))


# ----------------------------------------------------------------------- the formulas' example


def example():
    """A node with 16 free cores and cards [300, 1000]."""
    node = make_gpu_node("n1", cpu_milli=16_000)
    return make_snapshot(node, pods=[(running("old", 700, index="0", cpu_milli=0), "n1")])


@pytest.mark.parametrize(
    ("policy", "score", "card"),
    [("fgd", 57, 0), ("gpu-packing", 97, 0), ("gpu-clustering", 83, 0)],
)
def test_rates_the_example_as_its_policy_does(policy, score, card):
    plugin, snapshot = GpuShare(GpuShareArgs(policy=policy, workload=EXAMPLE)), example()
    pod, state = make_gpu_pod(milli=300), CycleState()

    rated = scores(plugin, pod, snapshot)
    reserved = plugin.reserve(state, pod=pod, node="n1", snapshot=snapshot)
    [write] = plugin.pre_bind(state, pod=pod, node="n1", snapshot=snapshot).writes

    assert rated == [score]
    assert reserved.is_success
    assert write.path == "/api/v1/namespaces/default/pods/p1"
    assert write.body == {"metadata": {"uid": pod.uid, "annotations": {GPU_INDEX: str(card)}}}
    assert not plugin.pre_bind(state, pod=pod, node="n1", snapshot=snapshot).writes


@pytest.mark.parametrize(
    ("pod", "codes"),
    [
        (make_gpu_pod(milli=300), [0, 2, 3, 0]),
        (make_gpu_pod(milli=1000), [0, 2, 3, 0]),
        (make_gpu_pod(milli=1000, count=2), [2, 3, 3, 0]),
        (make_gpu_pod(milli=300, model="T4|P100"), [3, 2, 3, 0]),
        (make_gpu_pod(milli=300, model="G2"), [3, 3, 3, 3]),
    ],
)
def test_refuses_nodes_that_lack_cards(pod, codes):
    nodes = [
        make_gpu_node("n1", n_cards=2, model="V100"),
        make_gpu_node("n2", n_cards=1, model="T4"),
        make_gpu_node("n3", n_cards=0),
        make_gpu_node("n4", n_cards=2, model="T4"),
    ]
    held = [(running("a", 800, index="1"), "n1"), (running("b", 1000, index="0"), "n2")]

    assert verdicts(GpuShare(GpuShareArgs()), pod, make_snapshot(*nodes, pods=held)) == codes


# ---------------------------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("milli", "count", "ask"),
    [
        (None, None, (0, 0)),
        (0, 0, (0, 0)),
        (0, None, (0, 0)),
        (300, None, (1, 300)),
        (None, 2, (2, 1000)),
        (1000, 8, (8, 1000)),
    ],
)
def test_either_annotation_may_be_left_out(milli, count, ask):
    found = ask_of(make_gpu_pod(milli=milli, count=count))

    assert (found.n_cards, found.card_milli) == ask


@pytest.mark.parametrize(
    ("milli", "count", "model", "named"),
    [
        ("half", 1, "", "gpu-milli: 'half'"),
        ("-1", 1, "", "gpu-milli: '-1'"),
        ("1001", 1, "", "gpu-milli: '1001'"),
        ("٣", 1, "", "gpu-milli"),
        ("9" * 5000, 1, "", "gpu-milli"),
        ("500", 2, "", "gpu-milli: 500"),
        ("0", 2, "", "gpu-milli: 0"),
        ("500", 0, "", "gpu-milli: 500, of 0 cards"),
        ("1000", "1.5", "", "gpu-count: '1.5'"),
        ("1000", "33", "", "gpu-count: '33'"),
        ("1000", "1", "|", "gpu-card-model: '|'"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_annotations_name(milli, count, model, named):
    plugin, pod = GpuShare(GpuShareArgs()), make_gpu_pod(milli=milli, count=count, model=model)

    status = plugin.pre_filter(CycleState(), pod=pod, snapshot=make_snapshot()).status

    assert status.code is Code.UNSCHEDULABLE_AND_UNRESOLVABLE
    assert f"annotation alibabacloud.com/{named}" in status.reasons[0]


def test_a_pod_that_cannot_be_read_waits_and_says_why():
    world = GpuWorld(make_gpu_node("n1"))

    said = world.come(make_gpu_pod("bad", "half"), make_gpu_pod("good", 300))

    [failure] = [each for each in said if isinstance(each, ReportFailure)]
    assert "alibabacloud.com/gpu-milli" in failure.message
    assert (world.cards("bad"), world.cards("good")) == ("", "n1/0")


@pytest.mark.parametrize("index", ["", "-", "0-0", "2", "x", "0-1-", "1.0", "0-1-1", "9" * 5000])
def test_an_index_that_cannot_be_true_is_none(index):
    pod = make_gpu_pod(milli=1000, count=2, index=index)

    assert cards_of(pod, ask=ask_of(pod), n_cards=2) is None


def test_only_annotations_of_gpus_are_kept_of_a_pod():
    pod = make_pod(annotations={GPU_MILLI: "300", "example.com/note": "long"})

    assert PodFacts.from_pod(pod).annotations == {GPU_MILLI: "300"}


@pytest.mark.parametrize(
    ("allocatable", "n_cards"),
    [
        ({GPU_COUNT: 2, GPU_MILLI: 1000}, 2),
        ({GPU_COUNT: 2, GPU_MILLI: 2000}, 2),
        ({GPU_MILLI: 4000}, 4),
        ({GPU_COUNT: 1000}, 32),
    ],
)
def test_nodes_tell_their_cards_in_several_ways(allocatable, n_cards):
    assert free(None, make_snapshot(NodeFacts("n1", allocatable=allocatable))) == [[1000] * n_cards]


# --------------------------------------------------------------------------- who has which card


def test_a_pod_that_does_not_say_which_cards_it_has_may_have_any():
    pods = [(running("known", 300, index="0"), "n1"), (running("unknown", 400), "n1")]

    assert free(None, make_snapshot(make_gpu_node("n1"), pods=pods)) == [[300, 600]]


@pytest.mark.parametrize(
    "pod",
    [
        running("whole", 1000, 1),
        running("many", 1000, 2, index="0"),
        running("bad", "half"),
        running("bad", "half", index="0"),
    ],
)
def test_whole_cards_that_nobody_knows_take_the_node(pod):
    assert free(None, make_snapshot(make_gpu_node("n1"), pods=[(pod, "n1")])) == [[0, 0]]


def test_pods_of_another_profile_on_their_way_may_have_any_card():
    snapshot = make_snapshot(make_gpu_node("n1"))
    plugin = GpuShare(GpuShareArgs())
    other = make_gpu_pod("other", 600, scheduler_name="another")
    snapshot.add_pod(replace(other, node_name="n1"), node="n1")

    assert verdicts(plugin, make_gpu_pod("p1", 500), snapshot) == [Code.UNSCHEDULABLE]
    assert verdicts(plugin, make_gpu_pod("p1", 400), snapshot) == [Code.SUCCESS]


def test_what_is_reserved_is_given_back():
    plugin, snapshot = GpuShare(GpuShareArgs()), make_snapshot(make_gpu_node("n1", n_cards=1))
    first, second = make_gpu_pod("first"), make_gpu_pod("second")
    snapshot.add_pod(first, node="n1")

    assert plugin.reserve(CycleState(), pod=first, node="n1", snapshot=snapshot).is_success
    refused = plugin.reserve(CycleState(), pod=second, node="n1", snapshot=snapshot)
    snapshot.remove_pod(first, node="n1")
    plugin.unreserve(CycleState(), pod=first, node="n1")

    assert refused.code is Code.UNSCHEDULABLE
    assert plugin.reserve(CycleState(), pod=second, node="n1", snapshot=snapshot).is_success


def test_an_index_from_an_earlier_try_is_overwritten():
    world = GpuWorld(make_gpu_node("n1"))
    world.come(make_gpu_pod("a", 1000))

    said = world.come(make_gpu_pod("b", 1000, index="0"))

    assert any(isinstance(action, WriteFirst) for action in said)
    assert (world.cards("a"), world.cards("b")) == ("n1/0", "n1/1")


def test_a_pod_is_evicted_where_that_frees_a_card():
    world = GpuWorld(make_gpu_node("n1", n_cards=1), make_gpu_node("n2", n_cards=1))
    world.come(make_gpu_pod("low", 600), make_gpu_pod("high", 1000, priority=5))

    said = world.come(make_gpu_pod("urgent", 500, priority=9))

    [evicted] = [action.victim.name for action in said if isinstance(action, Evict)]
    assert evicted == "low"


def test_what_waits_for_a_card_is_tried_when_one_is_free():
    world = GpuWorld(make_gpu_node("n1", n_cards=1))
    world.come(make_gpu_pod("first"), make_gpu_pod("second"))
    assert world.cards("second") == ""

    world.go("uid-of-first")
    world.now_s += 60.0
    world.come()

    assert world.cards("second") == "n1/0"


def test_cards_stay_with_their_pods_when_nodes_come_and_go():
    snapshot, book = make_snapshot(*(make_gpu_node(f"n{i}", n_cards=i) for i in (1, 2, 3))), None
    book = CardBook()
    snapshot.add_pod(running("a", 300, index="1"), node="n3")
    free(book, snapshot)

    snapshot.remove_node("n1")

    assert snapshot.names == ["n3", "n2"]
    assert free(book, snapshot) == [[1000, 700, 1000], [1000, 1000, 0]]


# -------------------------------------------------------------------------------- the mix


def test_without_a_workload_the_mix_is_learned_from_what_runs_and_comes():
    snapshot = make_snapshot(
        make_gpu_node("n1", n_cards=1),
        make_gpu_node("n2", n_cards=1),
        pods=[(running("a", 500, index="0"), "n1")],
    )
    told = GpuShareArgs(
        workload=(ExpectedPod(cpu_milli=4000, gpu_milli=500, gpu_count=1),),
    )
    pod = make_gpu_pod("b", 500)

    learned = scores(GpuShare(GpuShareArgs()), pod, snapshot)

    assert learned == scores(GpuShare(told), pod, snapshot)


def test_cpu_pods_keep_off_nodes_whose_cards_would_be_left_without_cpu():
    snapshot = make_snapshot(
        make_gpu_node("n1", n_cards=2, cpu_milli=4000), make_gpu_node("n2", n_cards=0)
    )
    plugin, cpu_pod = GpuShare(GpuShareArgs(workload=EXAMPLE)), make_pending("web", cpu_milli=1000)

    on_cards, elsewhere = scores(plugin, cpu_pod, snapshot)

    assert on_cards < elsewhere


@pytest.mark.parametrize("policy", ["fgd", "gpu-packing"])
def test_has_nothing_to_say_where_there_are_no_cards(policy):
    snapshot = make_snapshot(make_gpu_node("n1", n_cards=0))
    plugin = GpuShare(GpuShareArgs(policy=policy))

    assert scores(plugin, make_pending("web"), snapshot) is None
    assert plugin.pre_filter(
        CycleState(), pod=make_pending("web"), snapshot=snapshot
    ).status.is_skip


# ---------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ("{policy: magic}", "policy"),
        ("{cards: 2}", "cards"),
        ("{workload: [{cpuMilli: 100, gpuMilli: 500, gpuCount: 2}]}", "gpuCount"),
        ("{workload: [{cpuMilli: 100, gpuMilli: 2000, gpuCount: 1}]}", "gpuMilli"),
        ("{workload: [{gpuMilli: 500, gpuCount: 1}]}", "cpuMilli"),
    ],
)
def test_wrong_arguments_are_named(args, named, tmp_path):
    from scheduler.plugins.defaults import built_in_registry

    path = tmp_path / "profile.yaml"
    path.write_text(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
        "profiles:\n- schedulerName: s\n  plugins: {multiPoint: {enabled: [{name: GpuShare}]}}\n"
        f"  pluginConfig:\n  - name: GpuShare\n    args: {args}\n"
    )

    with pytest.raises(Exception, match=named):
        load_configuration(path, registry=built_in_registry())


# ------------------------------------------------------------------------------- golden, laws


def draw_requests(rng, *, n):
    shares = [(0, 0), (0, 0), (1, 100), (1, 300), (1, 500), (1, 700), (1, 1000), (2, 1000)]
    models = [frozenset(), frozenset(), frozenset(), frozenset({"T4"}), frozenset({"T4", "G2"})]
    for _ in range(n):
        n_cards, milli = shares[rng.integers(len(shares))]
        yield GpuPod(
            cpu_milli=int(rng.integers(1, 9)) * 500,
            memory_bytes=1,
            n_cards=n_cards,
            card_milli=milli,
            models=models[rng.integers(len(models))] if n_cards else frozenset(),
        )


@pytest.mark.parametrize("policy", DETERMINISTIC)
def test_places_node_for_node_and_card_for_card_as_the_published_experiment(policy):
    rng = np.random.default_rng(7)
    n_cards = [1, 2, 4, 8, 0, 2, 2, 4, 1, 8]
    models = ["T4", "T4", "G2", "V100", "", "G2", "T4", "V100", "T4", "G2"]
    cpu_milli = [8000, 16_000, 24_000, 32_000, 64_000, 16_000, 12_000, 32_000, 6000, 48_000]
    idle = GpuNodes.of(
        cpu_milli=cpu_milli,
        memory_bytes=[2**33] * 10,
        n_cards=n_cards,
        model=models,
        max_pods=110,
    )
    requests = list(draw_requests(rng, n=160))
    expected = tuple(
        ExpectedPod(
            cpu_milli=each.cpu_milli,
            gpu_milli=each.card_milli,
            gpu_count=each.n_cards,
            gpu_card_model="|".join(sorted(each.models)),
        )
        for each in requests
    )
    workload = TypicalWorkload.of([each.shape for each in expected])
    context = PolicyContext(workload=workload, idle=idle, chance=rng)
    published = replay(
        requests, nodes=idle, arrivals=np.arange(160), policy=POLICIES[policy](context)
    )
    world = GpuWorld(
        *(
            make_gpu_node(f"n{i}", n_cards=n, model=model, cpu_milli=cpu)
            for i, (n, model, cpu) in enumerate(zip(n_cards, models, cpu_milli, strict=True))
        ),
        args=GpuShareArgs(policy=policy, workload=expected),
    )

    for i, each in enumerate(requests):
        models_ask = "|".join(sorted(each.models))
        count = each.n_cards or None
        world.come(
            make_gpu_pod(
                f"p{i}",
                each.card_milli or None,
                count,
                model=models_ask,
                cpu_milli=each.cpu_milli,
            )
        )

    ours = [world.cards(f"p{i}") for i in range(160)]
    theirs = [
        "" if node == REJECTED else f"n{node}/{'-'.join(map(str, cards))}"
        for node, cards in zip(published.nodes.tolist(), published.cards, strict=True)
    ]
    assert ours == theirs
    assert 20 < ours.count("") < 120


def cards_in_use(world):
    """What pods have of each card, by the annotations that they carry."""
    used = Counter()
    for pod in world.pods.values():
        ask = ask_of(pod)
        if not pod.node_name or not ask.n_cards:
            continue
        cards = pod.annotations[GPU_INDEX].split("-")
        assert len(set(cards)) == ask.n_cards
        for card in cards:
            used[pod.node_name, int(card)] += ask.card_milli
    return used


SHARES = st.sampled_from([(300, 1), (500, 1), (700, 1), (1000, 1), (1000, 2), (0, 0)])
MOVES = st.one_of(
    st.tuples(st.just("come"), SHARES),
    st.tuples(st.just("come"), SHARES),
    st.tuples(st.just("go"), st.integers(0, 50)),
    st.tuples(st.just("restart"), st.none()),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(MOVES, max_size=25), st.sampled_from(["fgd", "fgd-demand", "best-fit"]))
def test_no_card_is_given_twice_whatever_comes_and_goes(moves, policy):
    nodes = [make_gpu_node(f"n{i}", n_cards=i, cpu_milli=64_000) for i in (1, 2, 3)]
    world = GpuWorld(*nodes, args=GpuShareArgs(policy=policy))

    for number, (move, what) in enumerate(moves):
        world.now_s += 20.0
        match move:
            case "come":
                world.come(make_gpu_pod(f"p{number}", *what, cpu_milli=100))
            case "go" if world.pods:
                world.go(list(world.pods)[what % len(world.pods)])
                world.come()
            case "restart":
                world.restart()
        used = cards_in_use(world)
        assert max(used.values(), default=0) <= 1000
        assert all(card < int(node[1:]) for node, card in used)
        assert free(None, world.engine.snapshot) == [
            [1000 - used[node.name, card] if card < int(node.name[1:]) else 0 for card in range(3)]
            for node in nodes
        ]


def test_what_is_kept_is_what_is_found_anew():
    rng = np.random.default_rng(3)
    nodes = [make_gpu_node(f"n{i}", n_cards=2) for i in range(6)]
    snapshot, kept = make_snapshot(*nodes), GpuShare(GpuShareArgs(workload=EXAMPLE))
    asks = [make_gpu_pod("ask", milli) for milli in (0, 300, 1000)]

    for number in range(40):
        row = int(rng.integers(6))
        held = list(snapshot.pods_on(row))
        if held and rng.random() < 0.4:
            snapshot.remove_pod(held[0], node=nodes[row].name)
        else:
            pod = running(f"p{number}", 100, index=str(rng.integers(2)), cpu_milli=500)
            snapshot.add_pod(pod, node=nodes[row].name)
        copy = snapshot.copy()
        copy.add_pod(running("tried", 400, index="0"), node=nodes[row].name)
        # What is found of the copy must not be taken for what is.
        for seen, ask in product((snapshot, copy, snapshot), asks):
            anew = GpuShare(GpuShareArgs(workload=EXAMPLE))
            assert scores(kept, ask, seen) == scores(anew, ask, seen)
            if ask is not asks[0]:
                assert verdicts(kept, ask, seen) == verdicts(anew, ask, seen)


def test_a_what_if_sees_its_own_pods():
    snapshot, plugin = example(), GpuShare(GpuShareArgs())
    pod = make_gpu_pod("whole", 1000, 2)
    assert verdicts(plugin, pod, snapshot) == [Code.UNSCHEDULABLE]

    what_if = snapshot.what_if()
    [old] = snapshot.pods_on(0)
    what_if.remove_pod(old, node="n1")

    assert plugin.filter(CycleState(), pod=pod, snapshot=what_if) is None
    assert verdicts(plugin, pod, snapshot) == [Code.UNSCHEDULABLE]


def test_a_pod_that_is_only_tried_gets_the_cards_that_it_would():
    snapshot, plugin = example(), GpuShare(GpuShareArgs())
    share = make_gpu_pod("share", 300)
    assert verdicts(plugin, share, snapshot) == [Code.SUCCESS]

    what_if = snapshot.what_if()
    what_if.add_pod(share, node="n1")

    assert plugin.filter(CycleState(), pod=make_gpu_pod("card", 1000), snapshot=what_if) is None
    full = plugin.filter(CycleState(), pod=make_gpu_pod("cards", 1000, 2), snapshot=what_if)
    assert full.codes.tolist() == [Code.UNSCHEDULABLE]
