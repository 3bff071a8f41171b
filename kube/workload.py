"""Which workload a pod is a replica of. One reading, shared by whoever keeps a history of it."""

import re
from typing import Final

from kube.objects import Pod, controller_of

_TEMPLATE_HASH: Final = "pod-template-hash"
_RUN_OF_CRON_JOB: Final = re.compile(r"(?P<name>.+)-[1-9][0-9]{7}")
"""A CronJob names its Jobs after itself and the minute that they were due in, since 1970. Their
pods name the Job alone."""


def workload_of(pod: Pod) -> str:
    """Name what a pod is a replica of (``namespace/kind/name``), the same over all revisions.

    A ReplicaSet that carries its Deployment's template hash stands for that Deployment, and a Job
    that bears a CronJob's kind of name for that CronJob. A bare pod, and a static one (whose
    controller is its node), stands for itself.
    """
    meta = pod.metadata
    owner = controller_of(meta)
    if owner is None or owner.kind == "Node":
        return f"{meta.namespace}/Pod/{meta.name}"
    suffix = "-" + (meta.labels or {}).get(_TEMPLATE_HASH, "")
    if owner.kind == "ReplicaSet" and len(suffix) > 1 and owner.name.endswith(suffix):
        return f"{meta.namespace}/Deployment/{owner.name.removesuffix(suffix)}"
    run = _RUN_OF_CRON_JOB.fullmatch(owner.name) if owner.kind == "Job" else None
    if run is not None:
        return f"{meta.namespace}/CronJob/{run['name']}"
    return f"{meta.namespace}/{owner.kind}/{owner.name}"
