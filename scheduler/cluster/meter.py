"""What decisions cost, for Prometheus: the engine's ``Meter``."""

import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from scheduler.cluster.histograms import SwiftHistogram
from scheduler.framework.status import Code

_SAMPLED: Final = 10
"""The plugins of one cycle in so many are measured, kube-scheduler's rate."""
_POINT_S: Final = tuple(0.0001 * 2.0**n for n in range(12))
_PLUGIN_S: Final = tuple(0.00001 * 1.5**n for n in range(20))


class CycleMeter:
    """Times extension points and plugins; used by the engine's thread alone.

    Args:
        registry: Where its metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._n_cycles = 0
        self.is_sampling = False
        self.now_s = time.perf_counter
        self._points = SwiftHistogram(
            "scheduler_framework_extension_point_duration_seconds",
            "Time that an extension point took, all plugins (Bind: until the API server answered)",
            ("extension_point", "status", "profile"),
            buckets=_POINT_S,
            registry=registry,
        )
        self._plugins = SwiftHistogram(
            "scheduler_plugin_execution_duration_seconds",
            "Time that a plugin took at an extension point, in one cycle of ten; as a rule it is"
            " asked about those nodes alone that changed",
            ("plugin", "extension_point", "status"),
            buckets=_PLUGIN_S,
            registry=registry,
        )
        self._preemptions = Counter(
            "scheduler_preemption_attempts",
            "Times that room was looked for by evicting pods",
            registry=registry,
        )

    def expect(self, profile: str) -> None:
        """Show zeros for what cycles of a profile will pass."""
        for point in ("PreFilter", "Filter", "PreScore", "Score", "Reserve", "Bind"):
            self._points.expect(point, Code.SUCCESS.word, profile)

    def passed(self, point: str, *, profile: str, status: str, since_s: float) -> float:
        """Take in that an extension point is passed."""
        now_s = self.now_s()
        self._points.observe(now_s - since_s, point, status, profile)
        if point == "PostFilter":
            self._preemptions.inc()
        return now_s

    def called(self, plugin: str, *, point: str, status: str, since_s: float) -> None:
        """Take in that a plugin was called."""
        self._plugins.observe(self.now_s() - since_s, plugin, point, status)

    def samples(self) -> bool:
        """Pick one cycle of ten."""
        self._n_cycles += 1
        self.is_sampling = self._n_cycles % _SAMPLED == 0
        return self.is_sampling
