"""What users do to the cluster: services that are deployed and rolled out, jobs that come and go.

Arrivals, requests and natures are drawn by the seed and by names, never by what happened before, so
that every policy meets the same.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from kube.client import MERGE_PATCH
from scheduler.plugins.defaults import SCHEDULER_NAME
from scheduler.simulator.chance import generator_of, key_of
from scheduler.simulator.door import LocalClient
from scheduler.simulator.draws import Draw, draw
from scheduler.simulator.experiments.scenario import Job, Scenario, Service, Workload
from scheduler.simulator.natures import FITTED_CPU_RATIO, FITTED_MEMORY_RATIO, Nature
from scheduler.simulator.resources import Object
from scheduler.simulator.timeline import Timeline
from scheduler.simulator.usage import UsageProfile, UsageSeries, WorkloadTraits, draw_traits
from scheduler.simulator.usage_traces import UsageLibrary

NAMESPACE: Final = "default"
_DAY_S: Final = 86_400.0
_PEAK_S: Final = 14 * 3600.0
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
            }
        }
        limits = {}
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
    def annotations(self) -> dict[str, str]:
        """What its pods say of their priority."""
        return {"priority": str(self.group.priority)} if self.group.priority else {}


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
        self._members = {f"{NAMESPACE}/{member.name}": member for member in members}
        self._natures: dict[str, Nature] = {m.group.name: m.group.nature for m in members}

    def change(self, group: str, nature: Nature) -> None:
        """Give a group another nature from now on."""
        self._natures[group] = nature

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
        else:
            traits = self._natures[member.group.name].traits(workload, seed=self._seed)
        series = None
        if member is not None and self._library is not None:
            series = self._library.series(workload, seed=self._seed)
        profile = traits.profile(
            cpu_request_milli=cpu_request_milli,
            memory_request_bytes=memory_request_bytes,
            series=series,
        )
        if member is not None and series is not None:
            nature = self._natures[member.group.name]
            profile = _scaled(profile, series=series, nature=nature, traits=traits)
        if member is None or not isinstance(member.group, Job):
            return profile
        run_s = draw(member.group.run_s, generator_of("run", self._seed, pod))
        return replace(profile, run_s=max(1.0, run_s))


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


class Users:
    """Acts at the API server's door when a time has come.

    Args:
        scenario: What is wished for.
        seed: Decides requests, arrivals and times.
        start_s: When it begins, Unix seconds.
    """

    def __init__(self, scenario: Scenario, *, seed: int, start_s: float) -> None:
        self._scenario = scenario
        self._seed = seed
        self._plans: Timeline[partial[None]] = Timeline()
        self._versions: dict[str, int] = {}
        self._n_arrivals: dict[str, int] = {}
        self.members = [
            Member.of(group, index + 1, seed=seed)
            for group in (*scenario.services, *scenario.jobs)
            for index in range(group.kinds)
        ]
        self.next_at_s = math.inf
        """When there is something to do."""
        for member in self.members:
            if isinstance(member.group, Service):
                self._plan(start_s, partial(self._deploy, member, member.group))
        for job in scenario.jobs:
            if job.per_hour:
                self._plan_arrival(job, after_s=start_s)

    def act(self, client: LocalClient) -> None:
        """Do what is due."""
        now_s = client.now_s()
        while (due := self._plans.pop(now_s)) is not None:
            due[1](client, now_s=now_s)
        self.next_at_s = self._plans.next_at_s

    # --- details

    def _plan(self, at_s: float, act: "partial[None]") -> None:
        self._plans.push(at_s, act)
        self.next_at_s = self._plans.next_at_s

    def _deploy(
        self, member: Member, service: Service, client: LocalClient, *, now_s: float
    ) -> None:
        chance = generator_of("replicas", self._seed, member.name)
        labels = {"app": member.name}
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": member.name, "labels": labels},
            "spec": {
                "replicas": max(1, round(draw(service.replicas, chance))),
                "selector": {"matchLabels": labels},
                "template": self._template(member, version=1),
            },
        }
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
        client.post(path, body=msgspec.json.encode(deployment))
        self._versions[member.name] = 1
        self._plan_rollout(member, service, now_s=now_s)

    def _plan_rollout(self, member: Member, service: Service, *, now_s: float) -> None:
        if service.rollout_every is None:
            return
        chance = generator_of("rollout", self._seed, member.name, self._versions[member.name])
        wait_s = chance.exponential(float(service.rollout_every))
        self._plan(now_s + wait_s, partial(self._roll_out, member, service))

    def _roll_out(
        self, member: Member, service: Service, client: LocalClient, *, now_s: float
    ) -> None:
        version = self._versions[member.name] = self._versions[member.name] + 1
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{member.name}"
        body = {"spec": {"template": self._template(member, version=version)}}
        client.patch(path, body=msgspec.json.encode(body), content_type=MERGE_PATCH)
        self._plan_rollout(member, service, now_s=now_s)

    def _template(self, member: Member, *, version: int) -> Object:
        meta = {"labels": {"app": member.name}, "annotations": member.annotations}
        return {"metadata": meta, "spec": member.pod_spec(version=version)}

    def _plan_arrival(self, job: Job, *, after_s: float) -> None:
        """Plan the next arrival: a Poisson process whose rate swings with the day, by thinning."""
        number = self._n_arrivals[job.name] = self._n_arrivals.get(job.name, -1) + 1
        chance = generator_of("arrival", self._seed, job.name, number)
        peak_per_s = job.per_hour * (1.0 + job.diurnal_amplitude) / 3600.0
        burst = max(1, round(draw(job.burst, chance)))
        at_s = after_s
        while True:
            at_s += chance.exponential(burst / peak_per_s)
            swing = math.cos((at_s - _PEAK_S) * 2.0 * math.pi / _DAY_S)
            rate = (1.0 + job.diurnal_amplitude * swing) / (1.0 + job.diurnal_amplitude)
            if chance.random() < rate:
                break
        kind = int(chance.integers(job.kinds))
        self._plan(at_s, partial(self._arrive, job, number, kind, burst))

    def _arrive(
        self, job: Job, number: int, kind: int, burst: int, client: LocalClient, *, now_s: float
    ) -> None:
        member = next(m for m in self.members if m.name == f"{job.name}-{kind + 1}")
        uid = f"{key_of('job', member.name):016x}"
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": member.name,
            "uid": f"{uid[:8]}-{uid[8:12]}-4{uid[13:]}-8000-{uid[:12]}",
            "controller": True,
        }
        for index in range(burst):
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{member.name}-{number:05d}-{index}",
                    "labels": {"app": member.name},
                    "annotations": member.annotations,
                    "ownerReferences": [owner],
                },
                "spec": {"restartPolicy": "Never", **member.pod_spec(version=1)},
            }
            client.post(f"/api/v1/namespaces/{NAMESPACE}/pods", body=msgspec.json.encode(pod))
        self._plan_arrival(job, after_s=now_s)
