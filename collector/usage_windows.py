"""What nodes used over the last minutes, in a few numbers."""

import math
from collections.abc import Sequence

from collector.answers import UsageWindow
from collector.samples import NodeSample


def window_of(samples: Sequence[NodeSample]) -> UsageWindow | None:
    """Sum up a node's samples, oldest first; ``None`` if there are none."""
    if not samples:
        return None
    cpu_mean, cpu_std = _moments([sample.cpu_milli for sample in samples])
    memory_mean, memory_std = _moments([sample.memory_bytes for sample in samples])
    return UsageWindow(
        n_samples=len(samples),
        start_s=samples[0].at_s,
        end_s=samples[-1].at_s,
        cpu_mean_milli=cpu_mean,
        cpu_std_milli=cpu_std,
        memory_mean_bytes=memory_mean,
        memory_std_bytes=memory_std,
    )


def _moments(values: Sequence[int]) -> tuple[float, float | None]:
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
