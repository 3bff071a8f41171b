"""What pods ask for of GPUs, and which cards they have, as annotations say it."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from kube.quantity import CPU
from scheduler.model import GPU_CARD_MODEL, GPU_COUNT, GPU_INDEX, GPU_MILLI, PodFacts
from scheduler.plugins.gpu.columns import CARD_MILLI, GpuPod
from scheduler.plugins.gpu.fragmentation import PodShape

MAX_CARDS: Final = 32
"""Of one node; more of them are not looked at, and no pod can ask for more."""

_SEPARATOR: Final = "-"
_MAX_DIGITS: Final = 9
_MAX_ASKS: Final = 4_096
_MAX_INDEX_CHARS: Final = MAX_CARDS * (_MAX_DIGITS + 1)
_MAX_INDEXES: Final = 4_096


class AskError(ValueError):
    """A pod's annotation cannot be read; says which one and why."""


def ask_of(pod: PodFacts) -> GpuPod:
    """Read what a pod asks for; one that names no card asks for CPU alone.

    Of the two annotations either may be left out: one card is asked for, or whole ones.

    Raises:
        AskError: An annotation makes no sense.
    """
    said = pod.annotations
    return _ask(
        said.get(GPU_MILLI, ""),
        said.get(GPU_COUNT, ""),
        said.get(GPU_CARD_MODEL, ""),
        pod.requests.get(CPU, 0),
    )


@lru_cache(maxsize=_MAX_ASKS)
def _ask(milli: str, count: str, models: str, cpu_milli: int) -> GpuPod:
    n_asked = _number(count, key=GPU_COUNT, highest=MAX_CARDS) if count else None
    milli_asked = _number(milli, key=GPU_MILLI, highest=CARD_MILLI) if milli else None
    if not (n_asked or milli_asked):
        return GpuPod(cpu_milli=cpu_milli)
    n_cards = 1 if n_asked is None else n_asked
    card_milli = CARD_MILLI if milli_asked is None else milli_asked
    if not (n_cards and card_milli):
        raise AskError(f"annotation {GPU_MILLI}: {card_milli}, of {n_cards} cards ({GPU_COUNT})")
    if n_cards > 1 and card_milli != CARD_MILLI:
        raise AskError(
            f"annotation {GPU_MILLI}: {card_milli}, but {n_cards} cards can only be had whole"
        )
    wanted = frozenset(filter(None, (model.strip() for model in models.split("|"))))
    if models and not wanted:
        raise AskError(f"annotation {GPU_CARD_MODEL}: {models!r} names no model")
    return GpuPod(cpu_milli=cpu_milli, n_cards=n_cards, card_milli=card_milli, models=wanted)


def _number(text: str, *, key: str, highest: int) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    if not is_number or int(text) > highest:
        raise AskError(f"annotation {key}: {text!r} is no whole number from 0 to {highest}")
    return int(text)


def shape_of(pod: PodFacts) -> PodShape:
    """Tell what makes a pod like others to the measure of fragmentation.

    Raises:
        AskError: An annotation makes no sense.
    """
    ask = ask_of(pod)
    spec = "|".join(sorted(ask.models))
    return PodShape(ask.cpu_milli, ask.card_milli, ask.n_cards, spec)


def index_text(cards: Sequence[int]) -> str:
    """Write down which cards a pod gets."""
    return _SEPARATOR.join(map(str, cards))


def cards_of(pod: PodFacts, *, ask: GpuPod, n_cards: int) -> tuple[int, ...] | None:
    """Read which cards a pod has.

    Args:
        pod: With its annotations.
        ask: What it asks for.
        n_cards: How many its node has.

    Returns:
        As many as it asks for; ``None`` if it does not say so in a way that can be true.
    """
    text = pod.annotations.get(GPU_INDEX, "")
    cards = _cards(text) if len(text) <= _MAX_INDEX_CHARS else ()
    is_possible = len(set(cards)) == ask.n_cards == len(cards) and max(cards, default=-1) < n_cards
    return cards if is_possible and cards else None


@lru_cache(maxsize=_MAX_INDEXES)
def _cards(text: str) -> tuple[int, ...]:
    """Read numbers of cards; none from what is no list of them."""
    pieces = text.split(_SEPARATOR)
    if not all(p.isascii() and p.isdigit() and len(p) <= _MAX_DIGITS for p in pieces):
        return ()
    return tuple(map(int, pieces))
