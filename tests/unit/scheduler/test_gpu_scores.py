"""The GPU policies' formulas: each docstring's example, and plain loops to hold columns to."""

import math
from functools import partial
from itertools import count

import numpy as np
import pytest

from scheduler.plugins.gpu.cards import best_cards, random_cards
from scheduler.plugins.gpu.columns import GpuNodes, GpuPod, LargestNode, feasible_nodes
from scheduler.plugins.gpu.demand import DemandMeasure
from scheduler.plugins.gpu.fgd import descent_scores, outcomes
from scheduler.plugins.gpu.fragmentation import PodShape, TypicalWorkload, fragmentation_milli
from scheduler.plugins.gpu.scores import (
    best_fit_scores,
    dot_product_scores,
    gpu_clustering_scores,
    gpu_packing_scores,
)

EXAMPLE = TypicalWorkload(
    (PodShape(4000, 500, 1, ""), PodShape(8000, 1000, 2, ""), PodShape(4000, 0, 0, "")),
    (0.5, 0.25, 0.25),
)
LARGEST = LargestNode(cpu_milli=128_000, gpu_milli=8000)


def make_nodes(*cards, cpu_milli=16_000, model="", classes=0, memory_bytes=2**40):
    """Nodes with these free cards; what is not a list is alike for all."""
    n = len(cards)
    models = [model] * n if isinstance(model, str) else model
    nodes = GpuNodes.of(
        cpu_milli=[cpu_milli] * n if isinstance(cpu_milli, int) else cpu_milli,
        memory_bytes=[memory_bytes] * n,
        n_cards=[len(each) for each in cards],
        model=models,
        max_pods=110,
    )
    for row, each in enumerate(cards):
        nodes.free_card_milli[row, : len(each)] = each
    nodes.classes[:] = classes
    return nodes


def measured(workload):
    return partial(fragmentation_milli, workload=workload)


def make_pod(card_milli=0, n_cards=1, *, cpu_milli=4000, models=(), memory_bytes=0):
    return GpuPod(
        cpu_milli=cpu_milli,
        memory_bytes=memory_bytes,
        n_cards=n_cards if card_milli else 0,
        card_milli=card_milli,
        models=frozenset(models),
    )


def plain_fragmentation(nodes, workload):
    """The measure as it is told, in plain floats, one sum a reason."""
    found = []
    for row in range(len(nodes)):
        cards = nodes.free_card_milli[row].tolist()
        idle, cpu = sum(cards), int(nodes.free_cpu_milli[row])
        sums = dict.fromkeys(("both", "gpu", "cpu", "cpu pod", "cpu pod lacks", "model"), 0.0)
        for shape, p in zip(workload.shapes, workload.p, strict=True):
            has_cpu = cpu >= shape.cpu_milli
            has_cards = sum(card >= shape.card_milli for card in cards) >= shape.n_cards
            wasted = idle
            if not shape.n_cards:
                reason = "cpu pod" if has_cpu else "cpu pod lacks"
            elif shape.models and nodes.models[nodes.model[row]] not in shape.models:
                reason = "model"
            elif has_cpu:
                reason = "gpu"
                if has_cards:
                    wasted = sum(card for card in cards if card < shape.card_milli)
            else:
                reason = "cpu" if has_cards else "both"
            sums[reason] += p * wasted
        total = 0.0
        for part in sums.values():
            total += part
        found.append(total)
    return found


def random_nodes(chance, n=40):
    nodes = GpuNodes.of(
        cpu_milli=chance.integers(0, 40, n) * 1000,
        memory_bytes=[2**40] * n,
        n_cards=chance.choice([1, 2, 4, 8], n),
        model=[str(model) for model in chance.choice(["A", "B", "C"], n)],
        max_pods=110,
    )
    used = chance.choice([0, 0, 300, 470, 810, 1000], nodes.free_card_milli.shape)
    np.maximum(nodes.free_card_milli - used, 0, out=nodes.free_card_milli)
    return nodes


def random_workload(chance, n=300):
    milli = chance.choice([0, 110, 470, 810, 1000], n)
    return TypicalWorkload.of(
        PodShape(
            int(chance.integers(1, 20)) * 1000,
            int(share),
            0 if share == 0 else 1 if share < 1000 else int(chance.choice([1, 2, 8])),
            str(chance.choice(["", "", "A", "A|B"])) if share else "",
        )
        for share in milli
    )


def test_measures_the_example():
    nodes = make_nodes([300, 1000], [0, 1000], [300, 700], cpu_milli=[16_000, 12_000, 12_000])

    fragmented = fragmentation_milli(nodes, workload=EXAMPLE)

    assert fragmented.tolist() == [800.0, 500.0, 650.0]


def test_scores_the_example_and_chooses_its_card():
    nodes = make_nodes([300, 1000], [0, 1000])

    scores, cards = descent_scores(make_pod(300), nodes=nodes, measure=measured(EXAMPLE))

    assert cards[0] == 0
    assert scores[0] == 57
    on_card_1 = outcomes(make_pod(300), nodes=nodes, measure=measured(EXAMPLE)).relief_milli[1]
    assert int(100 / (1 + math.exp(-on_card_1 / 1000))) == 53


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        pytest.param(
            lambda: best_fit_scores(make_pod(300), nodes=make_nodes([300, 1000]), largest=LARGEST),
            [89],
            id="best fit",
        ),
        pytest.param(
            lambda: dot_product_scores(
                make_pod(1000, 4, cpu_milli=32_000),
                nodes=make_nodes([1000] * 8, cpu_milli=64_000),
                largest=LARGEST,
            ),
            [68],
            id="dot product",
        ),
        pytest.param(
            lambda: gpu_packing_scores(
                make_pod(300), nodes=make_nodes([300, 1000], [200, 1000], [1000, 1000])
            ),
            [97, 49, 31],
            id="packing: a card in use, an idle card of a node in use, an idle node",
        ),
        pytest.param(
            lambda: gpu_packing_scores(make_pod(), nodes=make_nodes([300, 1000])),
            [0],
            id="packing does not rate for CPU pods",
        ),
        pytest.param(
            lambda: gpu_packing_scores(make_pod(1000, 2), nodes=make_nodes([300, 1000, 1000])),
            [48],
            id="packing takes two idle cards",
        ),
        pytest.param(
            lambda: gpu_clustering_scores(
                make_pod(300), nodes=make_nodes([1000, 1000], classes=1), largest=LARGEST
            ),
            [93],
            id="clustering: shares to shares",
        ),
        pytest.param(
            lambda: gpu_clustering_scores(
                make_pod(1000), nodes=make_nodes([1000, 1000], classes=1), largest=LARGEST
            ),
            [18],
            id="clustering: a whole card among shares",
        ),
        pytest.param(
            lambda: gpu_clustering_scores(
                make_pod(1000), nodes=make_nodes([1000, 1000], classes=0b11), largest=LARGEST
            ),
            [68],
            id="clustering: among its class and another",
        ),
        pytest.param(
            lambda: gpu_clustering_scores(
                make_pod(300), nodes=make_nodes([1000] * 8), largest=LARGEST
            ),
            [25],
            id="clustering: an idle node",
        ),
        pytest.param(
            lambda: gpu_clustering_scores(make_pod(), nodes=make_nodes([1000]), largest=LARGEST),
            [0],
            id="clustering does not rate for CPU pods",
        ),
    ],
)
def test_published_scores_come_to_their_examples(score, expected):
    assert score().tolist() == expected


@pytest.mark.parametrize("seed", range(5))
def test_measures_like_plain_sums_to_the_last_bit(seed):
    chance = np.random.default_rng(seed)
    nodes, workload = random_nodes(chance), random_workload(chance)

    found = fragmentation_milli(nodes, workload=workload).tolist()

    assert found == plain_fragmentation(nodes, workload)


@pytest.mark.parametrize(
    "pod",
    [
        make_pod(300),
        make_pod(1000),
        make_pod(1000, 2),
        make_pod(),
        make_pod(470, cpu_milli=0),
    ],
    ids=["share", "card", "two cards", "no card", "no cpu"],
)
def test_scores_as_if_each_placement_were_made(pod):
    chance = np.random.default_rng(7)
    nodes, workload = random_nodes(chance), random_workload(chance)
    nodes = nodes.take(np.flatnonzero(feasible_nodes(pod, nodes=nodes)))

    scores, cards = descent_scores(pod, nodes=nodes, measure=measured(workload))

    before = plain_fragmentation(nodes, workload)
    for row in range(len(nodes)):
        free = nodes.free_card_milli[row].tolist()
        choices = [best_cards(pod, free_milli=nodes.free_card_milli[row])]
        if pod.is_share:
            choices = [(card,) for card, milli in enumerate(free) if milli >= pod.card_milli]
        found = []
        for choice in choices:
            placed = nodes.take(np.array([row]))
            placed.place(pod, row=0, cards=choice)
            relief = before[row] - plain_fragmentation(placed, workload)[0]
            found.append(int(1.0 / (1.0 + math.exp(-(relief / 1000.0))) * 100.0))
        assert scores[row] == max(found)
        if pod.is_share:
            assert cards[row] == choices[found.index(max(found))][0]


def test_typical_shapes_are_the_most_frequent_ones():
    shapes = count()
    pods = [PodShape(1, 500, 1, "")] * 60 + [PodShape(2, 1000, 1, "A")] * 20
    pods += [PodShape(3, 1000, 1, "")] * 8 + [PodShape(3, 1000, 1, "B")] * 8
    pods += [PodShape(next(shapes), 0, 0, "") for _ in range(4)]

    workload = TypicalWorkload.of(pods)

    assert [(shape.cpu_milli, shape.spec) for shape in workload.shapes] == [
        (1, ""),
        (2, "A"),
        (3, "B"),  # of equally frequent ones the larger
        (3, ""),
    ]
    assert sum(workload.p) == pytest.approx(1.0)
    assert workload.p[0] == (60 / 100) / (96 / 100)


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        pytest.param(make_pod(1000, 2), [False, False, True], id="two cards"),
        pytest.param(make_pod(1000), [True, False, True], id="a card"),
        pytest.param(make_pod(500), [True, True, True], id="a share"),
        pytest.param(make_pod(500, models=["T4"]), [False, True, False], id="a model"),
        pytest.param(make_pod(models=["T4"]), [True, True, True], id="CPU pods run anywhere"),
        pytest.param(make_pod(cpu_milli=20_000), [False, False, True], id="CPU"),
        pytest.param(make_pod(memory_bytes=2**41), [False, False, False], id="memory"),
    ],
)
def test_says_which_nodes_have_what_a_pod_asks_for(pod, expected):
    nodes = make_nodes(
        [300, 1000],
        [400, 600],
        [1000, 1000],
        cpu_milli=[16_000, 16_000, 32_000],
        model=["P100", "T4", "G2"],
    )

    assert feasible_nodes(pod, nodes=nodes).tolist() == expected


def test_a_node_takes_only_so_many_pods():
    nodes = make_nodes([1000])
    nodes.free_pods[:] = 1

    nodes.place(make_pod(), row=0, cards=())

    assert not feasible_nodes(make_pod(), nodes=nodes).any()


@pytest.mark.parametrize(
    ("pod", "cards"),
    [
        pytest.param(make_pod(300), (1,), id="a share: the fullest that will do"),
        pytest.param(make_pod(500), (0,), id="a larger share"),
        pytest.param(make_pod(1000, 2), (2, 4), id="whole cards: the first idle ones"),
        pytest.param(make_pod(), (), id="none"),
    ],
)
def test_hands_out_cards(pod, cards):
    free = np.array([600, 400, 1000, 400, 1000])

    assert best_cards(pod, free_milli=free) == cards


def test_random_cards_are_any_that_will_do():
    chance, free = np.random.default_rng(0), np.array([600, 400, 1000, 400])

    drawn = {random_cards(make_pod(500), free_milli=free, chance=chance) for _ in range(50)}

    assert drawn == {(0,), (2,)}
    assert random_cards(make_pod(1000), free_milli=free, chance=chance) == (2,)


def test_what_is_placed_is_taken():
    nodes = make_nodes([300, 1000, 1000])

    nodes.place(make_pod(1000, 2), row=0, cards=(1, 2))
    nodes.place(make_pod(300), row=0, cards=(0,))

    assert nodes.free_card_milli.tolist() == [[0, 0, 0]]
    assert nodes.free_cpu_milli.tolist() == [8000]
    assert nodes.classes.tolist() == [0b101]


@pytest.mark.parametrize(
    ("n_cards", "card_milli"), [(2, 500), (1, 0), (0, 500), (1, 1001), (-1, 1000)]
)
def test_refuses_what_cannot_be_asked_for(n_cards, card_milli):
    with pytest.raises(ValueError, match=r"cards|amounts"):
        GpuPod(cpu_milli=1, n_cards=n_cards, card_milli=card_milli)


def test_the_largest_node_is_the_measure():
    nodes = make_nodes([1000] * 2, [1000] * 4, cpu_milli=[64_000, 32_000])

    assert LargestNode.of(nodes) == LargestNode(cpu_milli=64_000, gpu_milli=4000)


def test_demand_comes_to_its_example():
    measure = DemandMeasure(EXAMPLE, idle=make_nodes([1000, 1000]))

    nodes = make_nodes([300, 1000], [300, 700], cpu_milli=[16_000, 12_000])
    assert measure.unserved_milli(nodes).tolist() == pytest.approx([800.0, 675.0])


def test_demand_sees_cpu_that_will_not_do_for_all_cards():
    workload = TypicalWorkload.of([PodShape(8000, 1000, 1, "")])
    measure = DemandMeasure(workload, idle=make_nodes([1000] * 4))

    rich, poor, none = measure.unserved_milli(
        make_nodes(*[[1000] * 4] * 3, cpu_milli=[32_000, 8000, 4000])
    )

    assert rich == pytest.approx(0.0)
    assert rich < poor < none


def test_demand_keeps_models_for_those_who_need_them():
    workload = TypicalWorkload.of(
        [PodShape(1000, 1000, 1, "")] * 8 + [PodShape(1000, 1000, 1, "T4")] * 2
    )
    models = ["T4", "G2", "G2", "G2", "G2"]
    idle = make_nodes(*[[1000, 1000]] * 5, model=models)
    measure = DemandMeasure(workload, idle=idle)

    scores, _ = descent_scores(make_pod(1000), nodes=idle, measure=measure.unserved_milli)

    assert scores[0] < scores[1] == scores[4]


def test_demand_leaves_out_what_no_node_could_host():
    workload = TypicalWorkload.of([PodShape(1000, 1000, 8, ""), PodShape(1000, 0, 0, "")])
    measure = DemandMeasure(workload, idle=make_nodes([1000]))

    assert measure.unserved_milli(make_nodes([1000])).tolist() == [1000.0]
