"""What users wish for, and when: services deployed and rolled out, jobs that come and go.

Times are drawn by the seed and by names, never by what happened before, so that every policy meets
the same. How a wish is carried out is the business of who asks: ``users`` writes it to the API
server, the Gymnasium environment takes it as it is.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from scheduler.simulator.chance import generator_of
from scheduler.simulator.draws import draw
from scheduler.simulator.experiments.rewards import PodMix
from scheduler.simulator.experiments.scenario import Job, Scenario, Service
from scheduler.simulator.experiments.workload import Member
from scheduler.simulator.timeline import Timeline

_DAY_S: Final = 86_400.0
_PEAK_S: Final = 14 * 3600.0


@dataclass(frozen=True, slots=True)
class Deploy:
    """A service is to run."""

    member: Member
    replicas: int


@dataclass(frozen=True, slots=True)
class RollOut:
    """A service is to run another version."""

    member: Member
    version: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """Pods of a job come, all at once."""

    member: Member
    pods: tuple[str, ...]
    """Their names."""


Wish: TypeAlias = Deploy | RollOut | Arrival


class Wishes:
    """Names the wishes of a scenario's users as their times come.

    Args:
        scenario: What is wished for.
        seed: Decides requests, arrivals and times.
        start_s: When it begins, Unix seconds.
    """

    def __init__(self, scenario: Scenario, *, seed: int, start_s: float) -> None:
        self._seed = seed
        self._plans: Timeline[tuple[Wish, Job | Service]] = Timeline()
        self._n_arrivals: dict[str, int] = {}
        self.members = [
            Member.of(group, index + 1, seed=seed)
            for group in (*scenario.services, *scenario.jobs)
            for index in range(group.kinds)
        ]
        self._by_name = {member.name: member for member in self.members}
        for member in self.members:
            if isinstance(member.group, Service):
                self._plan_deployment(member, member.group, at_s=start_s)
        for job in scenario.jobs:
            if job.per_hour:
                self._plan_arrival(job, after_s=start_s)

    @property
    def next_at_s(self) -> float:
        """When there is something to wish for."""
        return self._plans.next_at_s

    def due(self, now_s: float) -> Iterator[Wish]:
        """Name what is wished for until now, one after another."""
        while (due := self._plans.pop(now_s)) is not None:
            wish, group = due[1]
            yield wish
            if isinstance(group, Job):
                self._plan_arrival(group, after_s=now_s)
            else:
                version = wish.version if isinstance(wish, RollOut) else 1
                self._plan_rollout(wish.member, group, version=version, now_s=now_s)

    def n_expected(self, member: Member, *, for_s: float) -> float:
        """Reckon how many pods of a workload are wished for within *for_s* seconds, rollouts aside.

        A group's arrivals fall to its workloads alike.
        """
        match member.group:
            case Job(per_hour=per_hour, kinds=kinds):
                return per_hour / kinds * for_s / 3600.0
            case Service() as service:
                return float(self._replicas(member, service))
            case _:
                return 0.0

    def pod_mix(self, *, for_s: float) -> PodMix | None:
        """Say what kinds of pods come within some seconds; ``None`` if none are described."""
        kinds = [
            (m.cpu_request_milli, m.memory_request_bytes, self.n_expected(m, for_s=for_s))
            for m in self.members
        ]
        return PodMix.of(kinds) if any(n for _, _, n in kinds) else None

    # --- details

    def _replicas(self, member: Member, service: Service) -> int:
        chance = generator_of("replicas", self._seed, member.name)
        return max(1, round(draw(service.replicas, chance)))

    def _plan_deployment(self, member: Member, service: Service, *, at_s: float) -> None:
        wish = Deploy(member, self._replicas(member, service))
        self._plans.push(at_s, (wish, service))

    def _plan_rollout(
        self, member: Member, service: Service, *, version: int, now_s: float
    ) -> None:
        if service.rollout_every is None:
            return
        chance = generator_of("rollout", self._seed, member.name, version)
        wait_s = chance.exponential(float(service.rollout_every))
        self._plans.push(now_s + wait_s, (RollOut(member, version + 1), service))

    def _plan_arrival(self, job: Job, *, after_s: float) -> None:
        """Plan the next arrival: a Poisson process whose rate swings with the day, by thinning."""
        number = self._n_arrivals[job.name] = self._n_arrivals.get(job.name, -1) + 1
        chance = generator_of("arrival", self._seed, job.name, number)
        peak_ratio = _peak_ratio(job)
        peak_per_s = job.per_hour * peak_ratio / 3600.0
        burst = max(1, round(draw(job.burst, chance)))
        at_s = after_s
        while True:
            at_s += chance.exponential(burst / peak_per_s)
            if chance.random() < _rate_ratio(job, at_s) / peak_ratio:
                break
        member = self._by_name[f"{job.name}-{int(chance.integers(job.kinds)) + 1}"]
        names = tuple(f"{member.name}-{number:05d}-{index}" for index in range(burst))
        self._plans.push(at_s, (Arrival(member, names), job))


def _peak_ratio(job: Job) -> float:
    """Say how many arrive when most do, over the mean of a day."""
    if job.hourly is None:
        return 1.0 + job.diurnal_amplitude
    return max(job.hourly) * len(job.hourly) / sum(job.hourly)


def _rate_ratio(job: Job, at_s: float) -> float:
    """Say how many arrive at a time, over the mean of a day."""
    if job.hourly is None:
        return 1.0 + job.diurnal_amplitude * math.cos((at_s - _PEAK_S) * 2.0 * math.pi / _DAY_S)
    return job.hourly[int(at_s % _DAY_S // 3600.0)] * len(job.hourly) / sum(job.hourly)
