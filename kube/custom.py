"""Custom resources that schedulers read: where they are served, and the fields that are used.

The kinds are those of kubernetes-sigs/scheduler-plugins, so that what was written for it is read
here. A server has them once their definitions (``config/crds``) are installed.
"""

from typing import ClassVar

from kube.objects import ObjectMeta, Struct


class CustomResource(Struct, frozen=True):
    """An object of a kind that an API server may lack."""

    collection: ClassVar[str]
    """Where all objects of the kind are listed, such as ``/apis/GROUP/VERSION/PLURAL``."""

    metadata: ObjectMeta


class PodGroupSpec(Struct, frozen=True):
    """How many of a group's pods are worth running."""

    min_member: int = 1
    schedule_timeout_seconds: int | None = None


class PodGroup(CustomResource, frozen=True):
    """A gang."""

    collection: ClassVar[str] = "/apis/scheduling.x-k8s.io/v1alpha1/podgroups"

    spec: PodGroupSpec = PodGroupSpec()
