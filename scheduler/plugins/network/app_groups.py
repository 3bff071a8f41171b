"""Which application a pod belongs to, and as what part of it."""

from collections.abc import Iterable
from typing import Annotated, Final, TypeVar

import msgspec

from kube.custom import AppGroup, AppGroupDependency, CustomResource
from scheduler.framework.interface import Change, PluginArgs
from scheduler.framework.objects import ClusterObjects
from scheduler.model import PodFacts

T = TypeVar("T", bound=CustomResource)

APP_GROUP_LABEL: Final = "appgroup.diktyo.x-k8s.io"
WORKLOAD_LABEL: Final = "appgroup.diktyo.x-k8s.io.workload"

DEFAULT_NAMESPACES: Final = ("default",)

Name = Annotated[str, msgspec.Meta(min_length=1)]


class AppGroupArgs(PluginArgs, frozen=True):
    """Arguments of every plugin that reads AppGroups."""

    namespaces: tuple[Name, ...] = DEFAULT_NAMESPACES
    """Where AppGroups are looked for; the first that has one of the name counts. None named is as
    the default, as upstream."""


def find_in(
    namespaces: Iterable[str], kind: type[T], *, name: str, objects: ClusterObjects
) -> T | None:
    """Find an object in the first of some namespaces that has it."""
    for namespace in namespaces:
        found = objects.find(kind, f"{namespace}/{name}")
        if found is not None:
            return found
    return None


def app_group_of(
    pod: PodFacts, *, namespaces: Iterable[str], objects: ClusterObjects
) -> AppGroup | None:
    """Find the application that a pod's label names."""
    name = pod.labels.get(APP_GROUP_LABEL)
    return find_in(namespaces, AppGroup, name=name, objects=objects) if name else None


def dependencies_of(pod: PodFacts, *, group: AppGroup) -> tuple[AppGroupDependency, ...]:
    """Return whom a pod's workload talks to."""
    selector = pod.labels.get(WORKLOAD_LABEL)
    return tuple(
        dependency
        for each in group.spec.workloads or ()
        if each.workload.selector == selector
        for dependency in each.dependencies or ()
    )


def is_status_alone(change: Change) -> bool:
    """Tell whether of an application nothing changed but what is said of it."""
    before, after = change.before, change.after
    return (
        isinstance(before, AppGroup) and isinstance(after, AppGroup) and before.spec == after.spec
    )
