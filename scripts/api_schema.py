"""Write the field tables that the simulated API server checks objects against.

    python scripts/api_schema.py > scheduler/simulator/apiserver/schema.json

Reads the types of the installed ``kubernetes`` package: names and types of fields, no prose. What
those types do not tell (sizes of integers, quantities, pointers) is added here.
"""

import datetime
import json
import re
import sys
import types
import typing

import kubernetes.client as client

KINDS = (
    *("ConfigMap", "Endpoints", "LimitRange", "Namespace", "Node", "PersistentVolume"),
    *("PersistentVolumeClaim", "Pod", "PodTemplate", "ReplicationController", "ResourceQuota"),
    *("Secret", "Service", "ServiceAccount", "ControllerRevision", "DaemonSet", "Deployment"),
    *("ReplicaSet", "StatefulSet", "PodDisruptionBudget", "Lease", "PriorityClass", "CSIDriver"),
    *("CSINode", "CSIStorageCapacity", "StorageClass", "VolumeAttachment", "DeviceClass"),
    *("VolumeAttributesClass", "ResourceClaim", "ResourceClaimTemplate", "ResourceSlice"),
    *("Binding", "Eviction", "DeleteOptions", "Scale", "CustomResourceDefinition"),
)
QUANTITIES = {
    "ResourceRequirements": ("limits", "requests"),
    "VolumeResourceRequirements": ("limits", "requests"),
    "NodeStatus": ("capacity", "allocatable"),
    "PodSpec": ("overhead",),
    "PersistentVolumeSpec": ("capacity",),
    "PersistentVolumeClaimStatus": ("capacity", "allocatedResources"),
    "ContainerStatus": ("allocatedResources",),
    "EmptyDirVolumeSource": ("sizeLimit",),
    "ResourceFieldSelector": ("divisor",),
    "CSIStorageCapacity": ("capacity", "maximumVolumeSize"),
    "ResourceQuotaSpec": ("hard",),
    "ResourceQuotaStatus": ("hard", "used"),
    "LimitRangeItem": ("default", "defaultRequest", "max", "maxLimitRequestRatio", "min"),
    "PodStatus": ("allocatedResources",),
    "DeviceCapacity": ("value",),
    "CapacityRequirements": ("requests",),
    "Counter": ("value",),
}
# What the client's types do not tell, or tell otherwise than Go's.
SCALARS = {
    ("CustomResourceSubresources", "status"): "any",  # an empty object is not left out here
    ("JSONSchemaProps", "maximum"): "float64",
    ("JSONSchemaProps", "minimum"): "float64",
    ("JSONSchemaProps", "multipleOf"): "float64",
}
INT64 = [
    "terminationGracePeriodSeconds",
    "activeDeadlineSeconds",
    "tolerationSeconds",
    "runAsUser",
    "runAsGroup",
    "fsGroup",
    "generation",
    "observedGeneration",
    "deletionGracePeriodSeconds",
    "expirationSeconds",
    "sizeBytes",
    "gracePeriodSeconds",
    "remainingItemCount",
    "supplementalGroups",
    "revision",
]
MICRO_TIMES = ("acquireTime", "renewTime", "eventTime", "lastObservedTime")
# Fields that Go holds as plain values and leaves out of the text when they are zero.
PLAIN = {
    "PodSpec": ("hostNetwork", "hostPID", "hostIPC"),
    "NodeSpec": ("unschedulable",),
    "Container": ("stdin", "stdinOnce", "tty"),
    "EphemeralContainer": ("stdin", "stdinOnce", "tty"),
    "VolumeMount": ("readOnly",),
    "ContainerPort": ("hostPort",),
    "ServicePort": ("nodePort",),
    "PriorityClass": ("globalDefault",),
    "DeploymentSpec": ("minReadySeconds", "paused"),
    "ReplicaSetSpec": ("minReadySeconds",),
    "DeploymentStatus": (
        *("observedGeneration", "replicas", "updatedReplicas"),
        *("readyReplicas", "availableReplicas", "unavailableReplicas"),
    ),
    "ReplicaSetStatus": (
        *("observedGeneration", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
    ),
    "Probe": (
        *("initialDelaySeconds", "timeoutSeconds", "periodSeconds"),
        *("successThreshold", "failureThreshold"),
    ),
    "ObjectMeta": ("generation",),
    "PodDisruptionBudgetStatus": ("observedGeneration",),
    "NodeCondition": ("observedGeneration",),
    "PodCondition": ("observedGeneration",),
    "PodStatus": ("observedGeneration",),
}
POINTER_STRINGS = [
    "storageClassName",
    "volumeMode",
    "holderIdentity",
    "runtimeClassName",
    "apiGroup",
    "type",
    "preemptionPolicy",
    "subPathExpr",
    "matchLabelKeys",
    "clusterIP",
]
# Times that Go writes as null when they are not set.
NULL_TIMES = {
    "NodeCondition": ("lastHeartbeatTime", "lastTransitionTime"),
    "PodCondition": ("lastProbeTime", "lastTransitionTime"),
    "DeploymentCondition": ("lastUpdateTime", "lastTransitionTime"),
    "ReplicaSetCondition": ("lastTransitionTime",),
    "PersistentVolumeClaimCondition": ("lastProbeTime", "lastTransitionTime"),
    "Condition": ("lastTransitionTime",),
    "ContainerStateRunning": ("startedAt",),
    "ContainerStateTerminated": ("startedAt", "finishedAt"),
}


def go_name(model: type) -> str:
    """The type's name as the API server has it, without the client's version prefix."""
    name = model.__name__.replace("CoreV1ResourceClaim", "V1CoreResourceClaim")
    name = name.replace("CoreV1Event", "V1CoreEvent")
    return re.sub(r"^(Core|Events|Storage|Discovery|Resource)?V\d+((alpha|beta)\d+)?", "", name)


def is_model(annotation: object) -> bool:
    """Tell whether the annotation is one of the package's models."""
    return isinstance(annotation, type) and hasattr(annotation, "model_fields")


def plain(annotation: object) -> object:
    """Strip Optional and Annotated."""
    while True:
        origin = typing.get_origin(annotation)
        args = typing.get_args(annotation)
        if origin is typing.Annotated:
            annotation = args[0]
        elif origin in (typing.Union, types.UnionType):
            rest = [arg for arg in args if arg is not type(None)]
            if len(rest) != 1:
                return typing.Any
            annotation = rest[0]
        else:
            return annotation


class Tables:
    """Collects the field tables of the kinds and all that they are made of."""

    def __init__(self) -> None:
        self.types: dict[str, dict[str, str]] = {}

    def add(self, model: type) -> str:
        """Describe the model unless that is done; answer its name."""
        name = go_name(model)
        if name in self.types:
            return name
        fields = self.types[name] = {}
        for attribute, field in model.model_fields.items():
            key = field.serialization_alias or attribute
            kind = self.kind(name, key, plain(field.annotation))
            fields[key] = kind + self.mark(name, key, kind, is_required=field.is_required())
        return name

    def kind(self, owner: str, key: str, annotation: object) -> str:
        """The type of one field, in the notation of schema.json."""
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if (owner, key) in SCALARS:
            return SCALARS[owner, key]
        if key in QUANTITIES.get(owner, ()):
            return "{Quantity}" if origin is dict else "Quantity"
        if origin is list:
            return f"[{self.kind(owner, key, plain(args[0]))}]"
        if origin is dict:
            return "{" + self.kind(owner, key, plain(args[1])) + "}"
        if is_model(annotation):
            return self.add(annotation)
        scalar = {
            str: "string",
            bool: "bool",
            float: "float64",
            bytes: "string",
            int: "int64" if key in INT64 else "int32",
            datetime.datetime: "MicroTime" if key in MICRO_TIMES else "Time",
        }
        return scalar.get(annotation, "any")

    def mark(self, owner: str, key: str, kind: str, *, is_required: bool) -> str:
        """``!`` always written, ``?`` dropped when zero, nothing: written when given."""
        if key in NULL_TIMES.get(owner, ()):
            return "!"
        if key in PLAIN.get(owner, ()):
            return "?"
        if is_required and kind in ("string", "int32", "int64", "bool"):
            return "!"
        if kind == "string" and key not in POINTER_STRINGS:
            return "?"
        return ""


def main() -> None:
    """Print the tables."""
    tables = Tables()
    for kind in KINDS:
        # Where two groups have a kind of that name, the client puts the group before the version.
        versions = [f"V1{kind}", f"ResourceV1{kind}", f"V1beta1{kind}"]
        model = next(getattr(client, name) for name in versions if hasattr(client, name))
        tables.add(model)
    tables.add(client.CoreV1Event)
    tables.add(client.EventsV1Event)
    json.dump(tables.types, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
