"""What nodes use, as metrics-server says: sampled now and then, averaged, and late."""

from typing import Final

import numpy as np

from scheduler.simulator.physics import Floats
from scheduler.simulator.world import NodeSample, World

_MAX_AGE_S: Final = 300.0
"""As the scheduler has it: an older sample tells nothing of now."""


class NodeMetrics:
    """Scrapes the kubelets as metrics-server does, and is looked at as a scheduler would.

    Args:
        world: What is measured.
        n_nodes: How many nodes it has.
        resolution_s: How often the kubelets are scraped.
    """

    def __init__(self, world: World, *, n_nodes: int, resolution_s: float) -> None:
        self._world = world
        self._resolution_s = resolution_s
        self._scrape_at_s = 0.0
        self._before: NodeSample | None = None
        self._last: NodeSample | None = None
        self.cpu_milli: Floats = np.full(n_nodes, np.nan)
        """As last looked at, in whole millicores; NaN where nothing is known, as for memory."""
        self.memory_bytes: Floats = np.full(n_nodes, np.nan)

    def scrape(self, now_s: float) -> None:
        """Scrape if it is time."""
        if now_s < self._scrape_at_s:
            return
        self._scrape_at_s = now_s + self._resolution_s
        sample = self._world.sample_nodes()
        if self._last is None or sample.at_s > self._last.at_s:
            self._before, self._last = self._last, sample

    def look(self, now_s: float) -> None:
        """Take in what is published now."""
        last, before = self._last, self._before
        if last is None or before is None or int(last.at_s) < now_s - _MAX_AGE_S:
            self.cpu_milli = np.full_like(self.cpu_milli, np.nan)
            self.memory_bytes = np.full_like(self.memory_bytes, np.nan)
            return
        known = last.is_up & before.is_up
        rate = (last.cpu_core_s - before.cpu_core_s) / (last.at_s - before.at_s)
        # Published in nanocores and whole kibibytes, and read in millicores, rounded up.
        cpu_milli = np.ceil(np.floor(1000.0 * rate * 1e6) / 1e6)
        memory_bytes = np.floor(last.memory_bytes / 1024.0) * 1024.0
        self.cpu_milli = np.where(known, cpu_milli, np.nan)
        self.memory_bytes = np.where(known, memory_bytes, np.nan)
