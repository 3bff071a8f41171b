"""From a pod object to what the world needs to know of it."""

import re
from dataclasses import dataclass
from typing import Final

from kube.quantity import parse_milli, parse_whole
from scheduler.simulator.resources import Object
from scheduler.simulator.runs import ContainerSpec, PodSpec, Role
from scheduler.simulator.usage import (
    USAGE_ANNOTATION,
    UsageAnnotationError,
    UsageModel,
    UsageProfile,
    apply_annotation,
)

_HASH_LABEL: Final = "pod-template-hash"
_RANDOM_TAIL: Final = re.compile(r"(-[a-z0-9]{5,10})?-[a-z0-9]{5}$|-\d+$")


@dataclass(frozen=True, slots=True)
class Placement:
    """A pod for the world, and what was wrong with its usage annotation, if anything."""

    pod: PodSpec
    problem: str = ""


def placement_of(pod: Object, *, usage: UsageModel, init_run_s: float) -> Placement:
    """Say what a bound pod is to the world: what it requests, and what it will truly use.

    Args:
        pod: A complete, valid pod.
        usage: Knows what its workload truly uses, unless an annotation fixes that.
        init_run_s: Work of an init container.
    """
    meta, spec = pod["metadata"], pod["spec"]
    annotation = (meta.get("annotations") or {}).get(USAGE_ANNOTATION)
    problem = ""
    if annotation is not None:
        problem = _problem_of(annotation)
    fixed = None if problem else annotation
    containers = []
    for each in spec.get("initContainers") or ():
        profile = _profile(each, pod=pod, usage=usage)
        if _is_sidecar(each):
            containers.append(_container(each, role="sidecar", profile=profile))
        else:
            profile = _of_init(profile, run_s=init_run_s)
            containers.append(_container(each, role="init", profile=profile))
    for each in spec["containers"]:
        profile = _profile(each, pod=pod, usage=usage)
        if fixed is not None:
            profile = apply_annotation(profile, fixed)
        containers.append(_container(each, role="app", profile=profile))
    return Placement(
        PodSpec(
            uid=meta["uid"],
            name=f"{meta['namespace']}/{meta['name']}",
            node=spec["nodeName"],
            containers=tuple(containers),
            restart_policy=spec["restartPolicy"],
            qos=pod["status"].get("qosClass", "BestEffort"),
            priority=spec.get("priority") or 0,
        ),
        problem,
    )


def workload_of(pod: Object) -> str:
    """Name the workload whose replicas behave alike: the owner, else the label, else the stem."""
    meta = pod["metadata"]
    labels = meta.get("labels") or {}
    name = labels.get("app.kubernetes.io/name") or labels.get("app")
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            # A ReplicaSet's name changes with each rollout, its Deployment's does not.
            name = owner["name"].removesuffix(f"-{labels.get(_HASH_LABEL, '')}")
    if not name:
        name = _RANDOM_TAIL.sub("", meta["name"])
    return f"{meta['namespace']}/{name}"


def _problem_of(annotation: str) -> str:
    try:
        apply_annotation(UsageProfile(cpu_milli=0, memory_bytes=0), annotation)
    except UsageAnnotationError as error:
        return str(error)
    return ""


def _is_sidecar(container: Object) -> bool:
    return container.get("restartPolicy") == "Always"


def _profile(container: Object, *, pod: Object, usage: UsageModel) -> UsageProfile:
    meta = pod["metadata"]
    return usage.profile(
        pod=f"{meta['namespace']}/{meta['name']}",
        workload=workload_of(pod),
        container=f"{container['name']}/{container.get('image') or ''}",
        cpu_request_milli=_amount(container, "requests", "cpu"),
        memory_request_bytes=_amount(container, "requests", "memory"),
    )


def _of_init(profile: UsageProfile, *, run_s: float) -> UsageProfile:
    """An init container works for a moment, without ups and downs."""
    return UsageProfile(cpu_milli=profile.cpu_milli, memory_bytes=profile.memory_bytes, run_s=run_s)


def _container(container: Object, *, role: Role, profile: UsageProfile) -> ContainerSpec:
    return ContainerSpec(
        name=container["name"],
        image=container.get("image") or "",
        profile=profile,
        role=role,
        cpu_request_milli=_amount(container, "requests", "cpu") or 0,
        cpu_limit_milli=_amount(container, "limits", "cpu"),
        memory_request_bytes=_amount(container, "requests", "memory") or 0,
        memory_limit_bytes=_amount(container, "limits", "memory"),
    )


def _amount(container: Object, kind: str, resource: str) -> int | None:
    quantities = (container.get("resources") or {}).get(kind) or {}
    if resource not in quantities:
        return None
    text = str(quantities[resource])
    return parse_milli(text) if resource == "cpu" else parse_whole(text)
