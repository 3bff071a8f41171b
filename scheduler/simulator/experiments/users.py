"""Writes what users wish for to the API server."""

from typing import assert_never

import msgspec

from kube.client import MERGE_PATCH
from scheduler.simulator.chance import key_of
from scheduler.simulator.door import LocalClient
from scheduler.simulator.experiments.rewards import PodMix
from scheduler.simulator.experiments.scenario import Scenario
from scheduler.simulator.experiments.wishes import Arrival, Deploy, RollOut, Wish, Wishes
from scheduler.simulator.experiments.workload import Member
from scheduler.simulator.resources import Object


class Users:
    """Acts at the API server's door when a time has come.

    Args:
        scenario: What is wished for.
        seed: Decides requests, arrivals and times.
        start_s: When it begins, Unix seconds.
    """

    def __init__(self, scenario: Scenario, *, seed: int, start_s: float) -> None:
        self._wishes = Wishes(scenario, seed=seed, start_s=start_s)
        self.members = self._wishes.members

    @property
    def next_at_s(self) -> float:
        """When there is something to do."""
        return self._wishes.next_at_s

    def pod_mix(self, *, for_s: float) -> PodMix | None:
        """Say what kinds of pods come within some seconds; ``None`` if none are described."""
        return self._wishes.pod_mix(for_s=for_s)

    def act(self, client: LocalClient) -> None:
        """Do what is due."""
        for wish in self._wishes.due(client.now_s()):
            _write(wish, client=client)


def _write(wish: Wish, *, client: LocalClient) -> None:
    match wish:
        case Deploy(member, replicas):
            path = f"/apis/apps/v1/namespaces/{member.namespace}/deployments"
            body = deployment(member, replicas=replicas)
            client.post(path, body=msgspec.json.encode(body))
        case RollOut(member, version):
            path = f"/apis/apps/v1/namespaces/{member.namespace}/deployments/{member.name}"
            body = {"spec": {"template": pod_template(member, version=version)}}
            client.patch(path, body=msgspec.json.encode(body), content_type=MERGE_PATCH)
        case Arrival(member, pods):
            path = f"/api/v1/namespaces/{member.namespace}/pods"
            for name in pods:
                client.post(path, body=msgspec.json.encode(job_pod(member, name=name)))
        case _:
            assert_never(wish)


def deployment(member: Member, *, replicas: int) -> Object:
    """Write a service's Deployment, in its first version."""
    labels = {"app": member.name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": member.name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": pod_template(member, version=1),
        },
    }


def pod_template(member: Member, *, version: int) -> Object:
    """Write the template of a service's pods."""
    meta = {"labels": member.labels, "annotations": member.annotations}
    return {"metadata": meta, "spec": member.pod_spec(version=version)}


def job_pod(member: Member, *, name: str) -> Object:
    """Write a pod of a job."""
    uid = f"{key_of('job', member.name):016x}"
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": member.name,
        "uid": f"{uid[:8]}-{uid[8:12]}-4{uid[13:]}-8000-{uid[:12]}",
        "controller": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": member.labels,
            "annotations": member.annotations,
            "ownerReferences": [owner],
        },
        "spec": {"restartPolicy": "Never", **member.pod_spec(version=1)},
    }
