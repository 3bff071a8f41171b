"""Fitting the garbage collector to programs that hold much for long."""

import gc
from typing import Final

_THRESHOLDS: Final = (50_000, 20, 100)


def expect_large_heap() -> None:
    """Look for garbage less often: a large heap with few cycles is walked whole, for nothing.

    At the usual pace that costs a tenth of every decision and write, and holds up answers by a
    third of a second at 30,000 pods.
    """
    gc.set_threshold(*_THRESHOLDS)
