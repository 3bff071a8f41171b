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
    UsageProfile,
    apply_annotation,
    draw_traits,
)

_HASH_LABEL: Final = "pod-template-hash"
_RANDOM_TAIL: Final = re.compile(r"(-[a-z0-9]{5,10})?-[a-z0-9]{5}$|-\d+$")
_INIT_RUN_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Placement:
    """A pod for the world, and what was wrong with its usage annotation, if anything."""

    pod: PodSpec
    problem: str = ""


def placement_of(pod: Object, *, seed: int) -> Placement:
    """Say what a bound pod is to the world: what it requests, and what it will truly use.

    Args:
        pod: A complete, valid pod.
        seed: Decides what its workload truly uses.
    """
    meta, spec = pod["metadata"], pod["spec"]
    annotation = (meta.get("annotations") or {}).get(USAGE_ANNOTATION)
    problem = ""
    if annotation is not None:
        problem = _problem_of(annotation)
    fixed = None if problem else annotation
    workload = workload_of(pod)
    containers = [
        _container(
            each, role="sidecar" if _is_sidecar(each) else "init", workload=workload, seed=seed
        )
        for each in spec.get("initContainers") or ()
    ] + [
        _container(each, role="app", workload=workload, seed=seed, annotation=fixed)
        for each in spec["containers"]
    ]
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


def _container(
    container: Object, *, role: Role, workload: str, seed: int, annotation: str | None = None
) -> ContainerSpec:
    resources = container.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    cpu, memory = _amount(requests, "cpu"), _amount(requests, "memory")
    image = container.get("image") or ""
    traits = draw_traits(f"{workload}/{container['name']}/{image}", seed=seed)
    profile = traits.profile(cpu_request_milli=cpu, memory_request_bytes=memory)
    if role == "init":
        profile = UsageProfile(
            cpu_milli=profile.cpu_milli, memory_bytes=profile.memory_bytes, run_s=_INIT_RUN_S
        )
    if annotation is not None:
        profile = apply_annotation(profile, annotation)
    return ContainerSpec(
        name=container["name"],
        image=image,
        profile=profile,
        role=role,
        cpu_request_milli=cpu or 0,
        cpu_limit_milli=_amount(limits, "cpu"),
        memory_request_bytes=memory or 0,
        memory_limit_bytes=_amount(limits, "memory"),
    )


def _amount(quantities: Object, resource: str) -> int | None:
    if resource not in quantities:
        return None
    text = str(quantities[resource])
    return parse_milli(text) if resource == "cpu" else parse_whole(text)
