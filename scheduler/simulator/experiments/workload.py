"""What runs on the cluster: the workloads that a scenario names, and what they truly use.

Requests and natures are drawn by the seed and by names, never by what happened before, so that
every policy meets the same.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.plugins.defaults import SCHEDULER_NAME
from scheduler.simulator.chance import generator_of
from scheduler.simulator.draws import Draw, draw
from scheduler.simulator.experiments.scenario import Job, Workload
from scheduler.simulator.natures import FITTED_CPU_RATIO, FITTED_MEMORY_RATIO, Nature
from scheduler.simulator.resources import Object
from scheduler.simulator.usage import UsageProfile, UsageSeries, WorkloadTraits, draw_traits
from scheduler.simulator.usage_traces import UsageLibrary

_MAX_PEAK: Final = 4.0
"""Of scaled recordings, over their mean: machines that idle for weeks have peaks beyond reason."""


@dataclass(frozen=True, slots=True)
class Member:
    """One workload of a group, drawn."""

    name: str
    group: Workload
    cpu_request_milli: int
    memory_request_bytes: int
    cpu_limit_milli: int | None
    memory_limit_bytes: int | None

    @classmethod
    def of(cls, group: Workload, index: int, *, seed: int) -> "Member":
        """Draw the *index*-th workload of a group."""
        name = f"{group.name}-{index}"
        chance = generator_of("requests", seed, name)
        cpu_milli = max(1, round(draw(group.cpu_request_milli, chance)))
        memory_mib = max(1, round(draw(group.memory_request_mib, chance)))
        return cls(
            name=name,
            group=group,
            cpu_request_milli=cpu_milli,
            memory_request_bytes=memory_mib * 2**20,
            cpu_limit_milli=_limit(cpu_milli, group.cpu_limit_ratio, chance),
            memory_limit_bytes=_limit(memory_mib * 2**20, group.memory_limit_ratio, chance),
        )

    def pod_spec(self, *, version: int) -> Object:
        """Write its pods' spec."""
        resources: Object = {
            "requests": {
                "cpu": f"{self.cpu_request_milli}m",
                "memory": str(self.memory_request_bytes),
                **self._extended,
            }
        }
        limits = dict(self._extended)
        if self.cpu_limit_milli is not None:
            limits["cpu"] = f"{self.cpu_limit_milli}m"
        if self.memory_limit_bytes is not None:
            limits["memory"] = str(self.memory_limit_bytes)
        if limits:
            resources["limits"] = limits
        container = {
            "name": "app",
            "image": f"registry.example/{self.name}:{version}",
            "resources": resources,
        }
        spec = {"schedulerName": SCHEDULER_NAME, "containers": [container]}
        return {**spec, **self.group.pod_spec}

    @property
    def namespace(self) -> str:
        """Where it runs."""
        return self.group.namespace

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def labels(self) -> dict[str, str]:
        """What its pods are told by."""
        return {**self.group.labels, "app": self.name}

    @property
    def annotations(self) -> dict[str, str]:
        """What its pods say, of their priority among others."""
        priority = {"priority": str(self.group.priority)} if self.group.priority else {}
        return {**self.group.annotations, **priority}

    @property
    def _extended(self) -> dict[str, str]:
        return {name: str(amount) for name, amount in self.group.extended_requests.items()}


def _limit(request: int, ratio: Draw | None, chance: np.random.Generator) -> int | None:
    return None if ratio is None else max(1, math.ceil(request * max(1.0, draw(ratio, chance))))


class HiddenUsage:
    """What the scenario's workloads truly use: known to the world alone.

    With recordings, each workload lives through one of them. Its level is the recording's, too,
    where the nature leaves the ratio to the fit; where the scenario sets one, the recording is
    scaled to have that mean (or a peak of four times it, if that is less).

    Args:
        members: All workloads.
        seed: Decides what was left to chance.
        library: Recorded usage; without it, usage is drawn as the natures say.
    """

    def __init__(
        self, members: list[Member], *, seed: int, library: UsageLibrary | None = None
    ) -> None:
        self._seed = seed
        self._library = library
        self._members = {member.key: member for member in members}
        self._natures: dict[str, Nature] = {m.group.name: m.group.nature for m in members}
        self._usual: dict[tuple[str, int | None, int | None], UsageProfile] = {}
        """What pods of the scenario's workloads use, by workload and requests."""

    def change(self, group: str, nature: Nature) -> None:
        """Give a group another nature from now on."""
        self._natures[group] = nature
        self._usual.clear()

    def profile(
        self,
        *,
        pod: str,
        workload: str,
        container: str,
        cpu_request_milli: int | None,
        memory_request_bytes: int | None,
    ) -> UsageProfile:
        """Say what a container uses; of a pod that is none of the scenario's, what is usual."""
        member = self._members.get(workload)
        if member is None:
            traits = draw_traits(f"{workload}/{container}", seed=self._seed)
            return traits.profile(
                cpu_request_milli=cpu_request_milli, memory_request_bytes=memory_request_bytes
            )
        key = (workload, cpu_request_milli, memory_request_bytes)
        profile = self._usual.get(key)
        if profile is None:
            profile = self._usual[key] = self._profile_of(member, *key)
        if not isinstance(member.group, Job):
            return profile
        run_s = draw(member.group.run_s, generator_of("run", self._seed, pod))
        return replace(profile, run_s=max(1.0, run_s))

    def _profile_of(
        self,
        member: Member,
        workload: str,
        cpu_request_milli: int | None,
        memory_request_bytes: int | None,
    ) -> UsageProfile:
        nature = self._natures[member.group.name]
        traits = nature.traits(workload, seed=self._seed)
        series = None
        if self._library is not None:
            series = self._library.series(workload, seed=self._seed)
        profile = traits.profile(
            cpu_request_milli=cpu_request_milli,
            memory_request_bytes=memory_request_bytes,
            series=series,
        )
        if series is None:
            return profile
        return _scaled(profile, series=series, nature=nature, traits=traits)


def _scaled(
    profile: UsageProfile, *, series: UsageSeries, nature: Nature, traits: WorkloadTraits
) -> UsageProfile:
    """Bring recorded usage to the level that a scenario sets."""
    cpu = memory = 1.0
    if nature.cpu_ratio != FITTED_CPU_RATIO:
        cpu = traits.cpu_ratio / _level(series.cpu_ratio)
    if nature.memory_ratio != FITTED_MEMORY_RATIO:
        memory = traits.memory_ratio / _level(series.memory_ratio)
    return replace(
        profile, cpu_milli=cpu * profile.cpu_milli, memory_bytes=memory * profile.memory_bytes
    )


def _level(ratios: NDArray[np.float32]) -> float:
    return max(float(ratios.mean()), float(ratios.max()) / _MAX_PEAK, 1e-6)
