"""Where the API server serves what the scheduler writes, and watches besides nodes and pods."""

from typing import Final

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

POD_GROUPS: Final = "/apis/scheduling.x-k8s.io/v1alpha1/podgroups"
"""Served where the PodGroup CRD is installed."""


def pod_path(pod: PodFacts) -> str:
    """Return where a pod is served."""
    return f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
