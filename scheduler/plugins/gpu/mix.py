"""Which pods are to be expected: the mix of those that have come so far."""

from collections import Counter, OrderedDict
from typing import Final

from scheduler.plugins.gpu.fragmentation import PodShape, TypicalWorkload

_MAX_PODS: Final = 10_000
"""The latest ones make the mix."""
_LOOK_RATIO: Final = 0.1
"""The mix is looked at again when so many of its pods are new."""
_MAX_DIFFERENCE: Final = 0.1
"""A mix holds until more than this part of the pods differ: with it all ratings change."""


class LearnedMix:
    """Counts pods that ask for cards, each once.

    Pods that ask for none are left out: all idle GPU is useless to them on every node alike, and
    where they are many they would crowd the others out of the shapes that count.
    """

    def __init__(self) -> None:
        self.workload = TypicalWorkload.of_counts({})
        self._shapes: OrderedDict[str, PodShape] = OrderedDict()
        self._counts: Counter[PodShape] = Counter()
        self._n_new = 0

    @property
    def is_full(self) -> bool:
        """Whether each further pod takes the place of an older one."""
        return len(self._shapes) >= _MAX_PODS

    def see(self, uid: str, *, shape: PodShape) -> None:
        """Take in a pod; one that is known already changes nothing."""
        if uid in self._shapes or not shape.n_cards:
            return
        if self.is_full:
            _, oldest = self._shapes.popitem(last=False)
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]
        self._shapes[uid] = shape
        self._counts[shape] += 1
        self._n_new += 1
        if self._n_new > _LOOK_RATIO * len(self._shapes):
            self._look()

    def _look(self) -> None:
        self._n_new = 0
        found = TypicalWorkload.of_counts(self._counts)
        if _difference(self.workload, found) > _MAX_DIFFERENCE:
            self.workload = found


def _difference(one: TypicalWorkload, other: TypicalWorkload) -> float:
    """Return the part of the pods of one mix that would have to be others to make the other."""
    p, q = (dict(zip(mix.shapes, mix.p, strict=True)) for mix in (one, other))
    if not p or not q:
        return 1.0
    return sum(abs(p.get(shape, 0.0) - q.get(shape, 0.0)) for shape in {*p, *q}) / 2
