"""Where the API server serves what the scheduler writes, and watches besides nodes and pods."""

from collections.abc import Iterable
from typing import Final

from kube.custom import CustomResource
from kube.objects import (
    KubeObject,
    Namespace,
    PodDisruptionBudget,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
)
from kube.storage import (
    CsiDriver,
    CsiNode,
    CsiStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)
from scheduler.model import PodFacts

PATHS: Final[dict[type[KubeObject], str]] = {
    Namespace: "/api/v1/namespaces",
    Service: "/api/v1/services",
    ReplicationController: "/api/v1/replicationcontrollers",
    ReplicaSet: "/apis/apps/v1/replicasets",
    StatefulSet: "/apis/apps/v1/statefulsets",
    PodDisruptionBudget: "/apis/policy/v1/poddisruptionbudgets",
    PersistentVolume: "/api/v1/persistentvolumes",
    PersistentVolumeClaim: "/api/v1/persistentvolumeclaims",
    StorageClass: "/apis/storage.k8s.io/v1/storageclasses",
    CsiNode: "/apis/storage.k8s.io/v1/csinodes",
    CsiDriver: "/apis/storage.k8s.io/v1/csidrivers",
    CsiStorageCapacity: "/apis/storage.k8s.io/v1/csistoragecapacities",
    VolumeAttachment: "/apis/storage.k8s.io/v1/volumeattachments",
}
"""Every API server has these."""


def watched(reads: Iterable[type[CustomResource]]) -> dict[type[KubeObject], str]:
    """Return where to watch what is neither node nor pod.

    Args:
        reads: Kinds that plugins ask about; a server need not have them (see ``is_optional``).
    """
    custom: dict[type[KubeObject], str]
    custom = {kind: kind.collection for kind in sorted(reads, key=lambda kind: kind.collection)}
    return {**PATHS, **custom}


def is_optional(kind: type[KubeObject]) -> bool:
    """Tell whether a server that lacks a kind is as good as one that has no objects of it."""
    return kind not in PATHS


def pod_path(pod: PodFacts) -> str:
    """Return where a pod is served."""
    return f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
