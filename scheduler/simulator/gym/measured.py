"""What nodes use, as metrics-server says and the collector remembers: now and then, and late."""

from typing import Final

import numpy as np

from scheduler.simulator.physics import Floats
from scheduler.simulator.world import NodeSample, World

MAX_AGE_S: Final = 300.0
"""As the scheduler has it: an older sample tells nothing of now."""


class NodeMetrics:
    """Scrapes the kubelets as metrics-server does, and is looked at as the collector does.

    Of a node that is not among what is published the last sample is kept, until it is too old.

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
        self._sampled_at_s: Floats = np.full(n_nodes, -np.inf)
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
        cpu_milli, memory_bytes = self.cpu_milli.copy(), self.memory_bytes.copy()
        if last is not None and before is not None:
            known = last.is_up & before.is_up
            rate = (last.cpu_core_s - before.cpu_core_s)[known] / (last.at_s - before.at_s)
            # Published in nanocores and whole kibibytes, and read in millicores, rounded up.
            cpu_milli[known] = np.ceil(np.floor(1000.0 * rate * 1e6) / 1e6)
            memory_bytes[known] = np.floor(last.memory_bytes[known] / 1024.0) * 1024.0
            self._sampled_at_s[known] = int(last.at_s)
        is_old = self._sampled_at_s < now_s - MAX_AGE_S
        cpu_milli[is_old] = memory_bytes[is_old] = np.nan
        self.cpu_milli, self.memory_bytes = cpu_milli, memory_bytes
