"""Metrics of what makes pods, and of the namespaces that they live in."""

from collections.abc import Callable
from typing import Final, Literal

from scheduler.simulator.kube_state.families import (
    Family,
    Kind,
    Sample,
    Samples,
    amount,
    instant,
    label,
    one_of,
)
from scheduler.simulator.resources import (
    DEPLOYMENTS,
    NAMESPACES,
    REPLICASETS,
    Object,
)

_STATUSES: Final = ("true", "false", "unknown")


def _named(kind: str) -> Callable[[Object], str]:
    def labels(obj: Object) -> str:
        meta = obj["metadata"]
        return f'namespace="{meta["namespace"]}",{kind}="{meta["name"]}"'

    return labels


def _number(part: Literal["metadata", "spec", "status"], field: str) -> Samples:
    return lambda obj: amount((obj.get(part) or {}).get(field))


def _created(obj: Object) -> list[Sample]:
    return instant(obj["metadata"]["creationTimestamp"])


def _conditions(deployment: Object) -> list[Sample]:
    return [
        (
            f"{label('condition', each['type'])}{label('reason', each.get('reason', ''))}{more}",
            is_it,
        )
        for each in (deployment.get("status") or {}).get("conditions") or ()
        for more, is_it in one_of("status", _STATUSES, actual=each["status"].lower())
    ]


def _owners(replica_set: Object) -> list[Sample]:
    return [
        (
            label("owner_kind", owner["kind"])
            + label("owner_name", owner["name"])
            + label("owner_is_controller", "true" if owner.get("controller") else "false"),
            1,
        )
        for owner in replica_set["metadata"].get("ownerReferences") or ()
    ]


def _phase(namespace: Object) -> list[Sample]:
    return one_of("phase", ("Active", "Terminating"), actual=namespace["status"]["phase"])


OF_DEPLOYMENTS: Final = Kind(
    DEPLOYMENTS,
    _named("deployment"),
    (
        Family("kube_deployment_created", "Unix creation timestamp", _created),
        Family(
            "kube_deployment_metadata_generation",
            "The generation that is wished for.",
            _number("metadata", "generation"),
        ),
        Family(
            "kube_deployment_spec_replicas",
            "Number of desired pods for a deployment.",
            _number("spec", "replicas"),
        ),
        Family(
            "kube_deployment_spec_paused",
            "Whether the deployment is paused.",
            lambda obj: [("", bool(obj["spec"].get("paused")))],
        ),
        Family(
            "kube_deployment_status_replicas",
            "The number of replicas per deployment.",
            _number("status", "replicas"),
        ),
        Family(
            "kube_deployment_status_replicas_ready",
            "The number of ready replicas per deployment.",
            _number("status", "readyReplicas"),
        ),
        Family(
            "kube_deployment_status_replicas_available",
            "The number of available replicas per deployment.",
            _number("status", "availableReplicas"),
        ),
        Family(
            "kube_deployment_status_replicas_unavailable",
            "The number of unavailable replicas per deployment.",
            _number("status", "unavailableReplicas"),
        ),
        Family(
            "kube_deployment_status_replicas_updated",
            "The number of updated replicas per deployment.",
            _number("status", "updatedReplicas"),
        ),
        Family(
            "kube_deployment_status_observed_generation",
            "The generation observed by the deployment controller.",
            _number("status", "observedGeneration"),
        ),
        Family(
            "kube_deployment_status_condition",
            "The current status conditions of a deployment.",
            _conditions,
        ),
    ),
)

OF_REPLICA_SETS: Final = Kind(
    REPLICASETS,
    _named("replicaset"),
    (
        Family("kube_replicaset_created", "Unix creation timestamp", _created),
        Family("kube_replicaset_owner", "Information about the ReplicaSet's owner.", _owners),
        Family(
            "kube_replicaset_spec_replicas",
            "Number of desired pods for a ReplicaSet.",
            _number("spec", "replicas"),
        ),
        Family(
            "kube_replicaset_status_replicas",
            "The number of replicas per ReplicaSet.",
            _number("status", "replicas"),
        ),
        Family(
            "kube_replicaset_status_ready_replicas",
            "The number of ready replicas per ReplicaSet.",
            _number("status", "readyReplicas"),
        ),
    ),
)

OF_NAMESPACES: Final = Kind(
    NAMESPACES,
    lambda namespace: f'namespace="{namespace["metadata"]["name"]}"',
    (
        Family("kube_namespace_created", "Unix creation timestamp", _created),
        Family("kube_namespace_status_phase", "The phase of a namespace.", _phase),
    ),
)
