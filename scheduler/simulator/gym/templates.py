"""What all pods of one version of a workload have in common, read once.

They are written, completed and read by the code that the API server's door uses, so both doors see
the same pods; after that no object is looked at again.
"""

from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from kube.decoding import decode_object
from kube.objects import Pod
from kube.quantity import CPU, MEMORY
from scheduler.errors import ConfigError
from scheduler.framework.matching import tolerates
from scheduler.model import PodFacts, Taint
from scheduler.simulator.chance import key_of
from scheduler.simulator.controllers.nodes import MEMORY_PRESSURE, toleration_s
from scheduler.simulator.controllers.rollout import HASH_LABEL, template_hash
from scheduler.simulator.defaults import complete
from scheduler.simulator.experiments.scenario import Service
from scheduler.simulator.experiments.users import deployment, job_pod, pod_template
from scheduler.simulator.experiments.workload import Member
from scheduler.simulator.pod_defaults import NOT_READY, UNREACHABLE
from scheduler.simulator.resources import DEPLOYMENTS, PODS, Object, Resource
from scheduler.simulator.runs import Qos

UNREACHABLE_TAINTS: Final = (
    Taint(UNREACHABLE, "", "NoSchedule"),
    Taint(UNREACHABLE, "", "NoExecute"),
)
PRESSURE_TAINT: Final = Taint(MEMORY_PRESSURE, "", "NoSchedule")

_KEPT: Final = frozenset(
    (
        "affinity",
        "automountServiceAccountToken",
        "dnsPolicy",
        "enableServiceLinks",
        "nodeSelector",
        "preemptionPolicy",
        "securityContext",
        "serviceAccountName",
        "terminationGracePeriodSeconds",
        "tolerations",
    )
)
"""The fields of ``pod_spec`` that are kept here, or bear on nothing that is simulated."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Template:
    """One version of a workload."""

    number: int
    """Counts templates from 0."""
    member: Member
    facts: PodFacts
    """As a scheduler reads such pods; name, uid and creation time are each pod's own."""
    workload: str
    """Namespace and name."""
    image: str
    qos: Qos
    restart_policy: Literal["Always", "Never"]
    grace_s: float
    stay_s: float | None
    """How long its pods stay on a node that is unreachable; ``None`` for ever."""
    tolerates_unreachable: bool
    tolerates_pressure: bool
    cpu_request_milli: int
    """Of each pod; so is the next."""
    memory_request_bytes: int


class _Nothing:
    """No priority classes, for admission to look among."""

    def find(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        return None

    def list(self, resource: Resource, namespace: str | None = None) -> list[Object]:
        return []


class Templates:
    """Makes templates, each once; of older versions nothing is kept."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, Template]] = {}
        self._n_made = 0

    def of(self, member: Member, *, version: int) -> Template:
        """Return the template of a workload's version.

        Raises:
            ConfigError: Its ``pod_spec`` asks for what is not kept here; the message names it.
        """
        known = self._newest.get(member.name)
        if known is not None and known[0] == version:
            return known[1]
        _check(member)
        template = _read(member, version=version, number=self._n_made)
        self._n_made += 1
        self._newest[member.name] = version, template
        return template


def _check(member: Member) -> None:
    spec, name = member.group.pod_spec, member.group.name
    if name_of_unknown := next((field for field in spec if field not in _KEPT), None):
        raise ConfigError(_refusal(name, f"pod_spec.{name_of_unknown}"))
    for field in spec.get("affinity") or {}:
        if field != "nodeAffinity":
            raise ConfigError(_refusal(name, f"pod_spec.affinity.{field}"))
    for toleration in spec.get("tolerations") or ():
        is_outage = toleration.get("key") in (NOT_READY, UNREACHABLE)
        if toleration.get("tolerationSeconds") is not None and not is_outage:
            raise ConfigError(_refusal(name, "pod_spec.tolerations with tolerationSeconds"))


def _refusal(workload: str, field: str) -> str:
    return f"workload {workload!r}: the environment does not keep {field}; use evaluate"


def _read(member: Member, *, version: int, number: int) -> Template:
    is_service = isinstance(member.group, Service)
    pod = _pod_of_service(member, version=version) if is_service else job_pod(member, name="")
    pod = complete(PODS, pod, among=_Nothing())
    pod["metadata"]["namespace"] = member.namespace
    spec = pod["spec"]
    facts = PodFacts.from_pod(decode_object(msgspec.json.encode(pod), Pod))
    taint = {"key": UNREACHABLE, "effect": "NoExecute"}
    return Template(
        number=number,
        member=member,
        facts=facts,
        workload=member.key,
        image=spec["containers"][0]["image"],
        qos=pod["status"]["qosClass"],
        restart_policy=spec["restartPolicy"],
        grace_s=float(spec["terminationGracePeriodSeconds"]),
        stay_s=toleration_s(pod, taint),
        tolerates_unreachable=all(
            tolerates(facts.tolerations, taint=each) for each in UNREACHABLE_TAINTS
        ),
        tolerates_pressure=tolerates(facts.tolerations, taint=PRESSURE_TAINT),
        cpu_request_milli=facts.requests[CPU],
        memory_request_bytes=facts.requests[MEMORY],
    )


def _pod_of_service(member: Member, *, version: int) -> Object:
    """Write a pod as the ReplicaSet of a Deployment's version would."""
    whole = deployment(member, replicas=1)
    whole["spec"]["template"] = pod_template(member, version=version)
    template = complete(DEPLOYMENTS, whole, among=_Nothing())["spec"]["template"]
    digest = template_hash(template, n_collisions=0)
    name = f"{member.name}-{digest}"
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": name,
        "uid": f"{key_of('replica set', name):016x}",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    meta = template["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **meta,
            "labels": {**(meta.get("labels") or {}), HASH_LABEL: digest},
            "ownerReferences": [owner],
        },
        "spec": template["spec"],
    }
