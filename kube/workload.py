"""Which workload a pod is a replica of. One reading, shared by whoever keeps a history of it."""

from typing import Final

from kube.objects import Pod, controller_of

_TEMPLATE_HASH: Final = "pod-template-hash"


def workload_of(pod: Pod) -> str:
    """Name what a pod is a replica of (``namespace/kind/name``), the same over all revisions.

    A ReplicaSet that carries its Deployment's template hash stands for that Deployment. A bare pod,
    and a static one (whose controller is its node), stands for itself.
    """
    meta = pod.metadata
    owner = controller_of(meta)
    if owner is None or owner.kind == "Node":
        return f"{meta.namespace}/Pod/{meta.name}"
    suffix = "-" + (meta.labels or {}).get(_TEMPLATE_HASH, "")
    if owner.kind == "ReplicaSet" and len(suffix) > 1 and owner.name.endswith(suffix):
        return f"{meta.namespace}/Deployment/{owner.name.removesuffix(suffix)}"
    return f"{meta.namespace}/{owner.kind}/{owner.name}"
