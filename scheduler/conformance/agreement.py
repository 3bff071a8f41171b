"""Do we decide as kube-scheduler did? One scheduling cycle, held against what is recorded."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from scheduler.conformance.scenarios import Expected, Recording, World
from scheduler.errors import PluginError
from scheduler.framework.configuration import KubeSchedulerConfiguration, ProfileConfiguration
from scheduler.framework.cycle import CycleState
from scheduler.framework.filter_result import FilterResult
from scheduler.framework.interface import FailedSearch
from scheduler.framework.profile import Profile, make_profiles
from scheduler.framework.runtime import FilterRun, run_post_filters, run_scores
from scheduler.framework.standing import Standings
from scheduler.framework.status import Code
from scheduler.model import PodFacts
from scheduler.plugins.default_preemption import DefaultPreemption
from scheduler.plugins.defaults import built_in_registry
from scheduler.plugins.preemption.trial import equally_good

SCHEDULER_NAME: Final = "default-scheduler"


def kube_scheduler_profile() -> Profile:
    """Make the profile of a kube-scheduler that nobody has configured."""
    configuration = KubeSchedulerConfiguration(
        api_version="kubescheduler.config.k8s.io/v1",
        kind="KubeSchedulerConfiguration",
        profiles=(ProfileConfiguration(scheduler_name=SCHEDULER_NAME),),
    )
    return make_profiles(configuration, registry=built_in_registry())[SCHEDULER_NAME]


def disagreements(recording: Recording, *, profile: Profile) -> list[str]:
    """Put a scenario's pod through a cycle.

    Returns:
        Where we decide otherwise than recorded, in words; nothing where we agree.
    """
    cycle = _Cycle(profile, world=recording.world, expected=recording.expected)
    try:
        return list(cycle.disagreements())
    except PluginError as error:
        return [str(error)]


class _Cycle:
    """One scheduling cycle, held against what is recorded."""

    def __init__(self, profile: Profile, *, world: World, expected: Expected) -> None:
        self._profile = profile
        self._world = world
        self._expected = expected
        self._state = CycleState()
        self._standing = Standings(profile).of(world.pod, snapshot=world.snapshot)

    def disagreements(self) -> Iterator[str]:
        world = self._world
        run = FilterRun(
            self._profile,
            state=self._state,
            pod=world.pod,
            snapshot=world.snapshot,
            nominations=world.nominations,
            standing=self._standing,
        )
        found = run.run()
        yield from self._statuses(found)
        if found.feasible.any():
            yield from self._scores(found)
            return
        yield from _differences({"message": (found.message(), self._expected.message)})
        yield from self._preemption(run, found)

    def _statuses(self, found: FilterResult) -> Iterator[str]:
        names = self._world.snapshot.names
        refused = found.statuses(names, limit=len(names))
        ours: dict[str, tuple[str, ...]] = dict.fromkeys(names, (Code.SUCCESS.word, ""))
        for name, (plugin, status) in refused.items():
            ours[name] = (status.code.word, plugin, *sorted(set(status.reasons)))
        recorded = {
            name: (status.code, status.plugin, *sorted(status.reasons))
            for name, status in self._expected.statuses.items()
        }
        yield from _differences(_paired(ours, recorded))

    def _scores(self, found: FilterResult) -> Iterator[str]:
        world = self._world
        result = run_scores(
            self._profile,
            state=self._state,
            pod=world.pod,
            snapshot=world.snapshot,
            feasible=found.feasible,
            standing=self._standing,
        )
        columns = {**result.by_plugin, "total": result.totals}
        ours: dict[str, Mapping[str, int]] = {
            world.snapshot.names[row]: {n: int(c[i]) for n, c in columns.items()}
            for i, row in enumerate(result.rows.tolist())
        }
        recorded = self._expected.scores
        for node in sorted({*ours, *recorded}):
            pairs = _paired(ours.get(node, {}), recorded.get(node, {}), missing=0)
            yield from (f"{node}: {line}" for line in _differences(pairs))

    def _preemption(self, run: FilterRun, found: FilterResult) -> Iterator[str]:
        search = FailedSearch(
            snapshot=self._world.snapshot,
            found=found,
            refilter=run.refilter,
            afresh=run.afresh,
            nominations=self._world.nominations,
            now_s=0.0,
        )
        recorded = (self._expected.nominated, tuple(sorted(self._expected.victims)))
        choices = list(self._choices(search))
        if recorded not in choices:
            yield from _differences({"preemption": (choices[0], recorded)})

    def _choices(self, search: FailedSearch) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Give our node and victims, then those that are as good: upstream takes any of them."""
        pod = self._world.pod
        result = run_post_filters(self._profile, state=self._state, pod=pod, search=search)
        if result is None or not result.status.is_success:
            yield "", ()
            return
        yield result.node or "", _keys(result.victims)
        for plugin in self._profile.post_filter:
            if isinstance(plugin, DefaultPreemption):
                candidates, _ = plugin.candidates(pod, search=search)
                for each in equally_good(candidates):
                    yield each.node, _keys(each.victims)


def _keys(pods: Iterable[PodFacts]) -> tuple[str, ...]:
    return tuple(sorted(pod.key for pod in pods))


def _paired(
    ours: Mapping[str, Any], recorded: Mapping[str, Any], *, missing: Any = None
) -> dict[str, tuple[Any, Any]]:
    return {
        key: (ours.get(key, missing), recorded.get(key, missing))
        for key in sorted({*ours, *recorded})
    }


def _differences(pairs: Mapping[str, tuple[Any, Any]]) -> Iterator[str]:
    for name, (ours, recorded) in pairs.items():
        if ours != recorded:
            yield f"{name}: {ours}, recorded: {recorded}"
