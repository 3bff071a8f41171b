"""Which plugins were asked, and where the time went: the engine's ``Meter``, in CPU time."""

import time
from collections import Counter

from scheduler.framework.profile import Profile
from scheduler.framework.registry import Registry

_SAMPLED = 10
_POINTS = {"Filter": "filter", "PostFilter": "post_filter", "Score": "score"}


class PluginTimes:
    """Measures every cycle at first; after ``begin``, as the program does, one of ten."""

    def __init__(self) -> None:
        self.now_s = time.thread_time
        self.is_sampling = False
        self._rate = 1
        self._n_cycles = 0
        self._calls: set[tuple[str, str]] = set()
        self._points_s: Counter[str] = Counter()
        self._plugins_s: Counter[str] = Counter()

    def begin(self) -> None:
        """Forget the times, and measure so rarely that it does not show in a figure."""
        self._rate = _SAMPLED
        self._points_s.clear()
        self._plugins_s.clear()

    def passed(self, point: str, *, profile: str, status: str, since_s: float) -> float:
        now_s = self.now_s()
        self._points_s[point] += now_s - since_s
        return now_s

    def called(self, plugin: str, *, point: str, status: str, since_s: float) -> None:
        self._plugins_s[plugin] += self.now_s() - since_s
        self._calls.add((plugin, point))

    def samples(self) -> bool:
        self._n_cycles += 1
        self.is_sampling = self._n_cycles % self._rate == 0
        return self.is_sampling

    def idle(self, profile: Profile, *, registry: Registry) -> list[str]:
        """Name the plugins, of those that are off by default, that were never asked, and where."""
        return sorted(
            f"{plugin.name} ({point})"
            for point, plugins in _POINTS.items()
            for plugin in getattr(profile, plugins)
            if plugin.name not in registry.default_weights
            and (plugin.name, point) not in self._calls
        )

    def shares(self, cpu_s: float) -> str:
        """Say what share of some time each point and plugin took, the largest first."""

        def listed(times_s: Counter[str], rate: int) -> str:
            ratios = ((name, rate * spent_s / cpu_s) for name, spent_s in times_s.most_common())
            return ", ".join(f"{name} {ratio:.1%}" for name, ratio in ratios if ratio >= 0.0005)

        return (
            f"  by extension point: {listed(self._points_s, 1)}\n"
            f"  by plugin, from one cycle in {self._rate}: {listed(self._plugins_s, self._rate)}"
        )
