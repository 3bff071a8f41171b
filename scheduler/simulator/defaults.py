"""Makes a new object complete: defaults, and what built-in admission adds."""

import ipaddress
import zlib
from collections.abc import Callable
from typing import Protocol

from scheduler.simulator import resources as r
from scheduler.simulator.label_keys import with_merged_label_keys
from scheduler.simulator.pod_defaults import (
    complete_pod_spec,
    initial_status,
    with_outage_tolerations,
)
from scheduler.simulator.resources import Object, Resource


class ForbiddenError(Exception):
    """Admission refuses the object."""


class Objects(Protocol):
    """Where admission looks other objects up, such as a ``Store``."""

    def find(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """The object of that name, or None."""

    def list(self, resource: Resource, namespace: str | None = None) -> list[Object]:
        """All objects of the resource."""


SYSTEM_PRIORITIES = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}


def complete(resource: Resource, obj: Object, *, among: Objects) -> Object:
    """A copy of a new object with every default made explicit.

    Args:
        resource: What it is.
        obj: The object as its author wrote it; not changed.
        among: What there is already: the priority classes of pods.

    Raises:
        ForbiddenError: A pod names a priority class that does not exist, or a priority of its own;
            or there is a default priority class already.
    """
    if resource is r.PODS:
        return _complete_pod(obj, among)
    if resource is r.PRIORITY_CLASSES and obj.get("globalDefault"):
        _check_only_default(among)
    if resource is r.PVCS:
        obj = _with_class(obj, among)
    completer = _COMPLETERS.get(resource.table)
    return completer(obj) if completer else obj


def complete_update(resource: Resource, obj: Object) -> Object:
    """A copy of an object that replaces another, with the defaults of its spec made explicit."""
    if resource is r.PODS:
        return {**obj, "spec": _with_links(complete_pod_spec(obj.get("spec") or {}))}
    completer = _COMPLETERS.get(resource.table)
    if completer is None or resource.table == r.NAMESPACES.table:
        return obj
    return completer(obj)


def _complete_pod(pod: Object, among: Objects) -> Object:
    given = pod.get("spec") or {}
    spec = _with_links(complete_pod_spec(given))
    spec["tolerations"] = with_outage_tolerations(given.get("tolerations") or ())
    spec.update(_priority(given, among))
    spec = with_merged_label_keys(spec, (pod.get("metadata") or {}).get("labels") or {})
    return {**pod, "spec": spec, "status": {**initial_status(spec), **(pod.get("status") or {})}}


def _with_links(spec: Object) -> Object:
    spec["enableServiceLinks"] = spec.get("enableServiceLinks") is not False
    return spec


def _check_only_default(among: Objects) -> None:
    if found := _default_class(among):
        name = found["metadata"]["name"]
        raise ForbiddenError(
            f"PriorityClass {name} is already marked as default. Only one default can exist"
        )


def _default_class(among: Objects) -> Object | None:
    marked = [each for each in among.list(r.PRIORITY_CLASSES) if each.get("globalDefault")]
    return min(marked, key=lambda each: each.get("value", 0), default=None)


def _priority(spec: Object, among: Objects) -> Object:
    name = spec.get("priorityClassName")
    found = among.find(r.PRIORITY_CLASSES, None, name) if name else _default_class(among)
    if name and found is None:
        raise ForbiddenError(f"no PriorityClass with name {name} was found")
    value, policy, named = 0, "PreemptLowerPriority", {}
    if found is not None:
        value = found.get("value", 0)
        policy = found.get("preemptionPolicy") or policy
        named = {"priorityClassName": found["metadata"]["name"]}
    asked = spec.get("priority")
    if asked is not None and asked != value:
        raise ForbiddenError(
            f"the integer value of priority ({asked}) must not be provided in pod spec; "
            f"priority admission controller computed {value} from the given PriorityClass name"
        )
    wanted = spec.get("preemptionPolicy")
    if named and wanted and wanted != policy:
        raise ForbiddenError(
            f"the string value of PreemptionPolicy ({wanted}) must not be provided in pod spec; "
            f"priority admission controller computed {policy} from the given PriorityClass name"
        )
    return {**named, "priority": value, "preemptionPolicy": wanted or policy}


def _complete_namespace(namespace: Object) -> Object:
    meta = namespace.get("metadata") or {}
    labels = dict(meta.get("labels") or {})
    if meta.get("name"):
        labels["kubernetes.io/metadata.name"] = meta["name"]
    return {
        **namespace,
        "metadata": {**meta, "labels": labels},
        "spec": {"finalizers": ["kubernetes"], **(namespace.get("spec") or {})},
        "status": {"phase": "Active"},
    }


_NODE_INFO = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
)


def _complete_node(node: Object) -> Object:
    status = node.get("status") or {}
    info = dict.fromkeys(_NODE_INFO, "") | (status.get("nodeInfo") or {})
    full = {"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, **status, "nodeInfo": info}
    if status.get("capacity") and not status.get("allocatable"):
        full["allocatable"] = status["capacity"]
    return {**node, "spec": _with_cidrs(node.get("spec") or {}), "status": full}


def _with_cidrs(spec: Object) -> Object:
    """Let a spec that tells one range of pod addresses tell the list of them, and the reverse."""
    first = (spec.get("podCIDRs") or [""])[0]
    cidr = spec.get("podCIDR") or first
    if not cidr or cidr == first == spec.get("podCIDR"):
        return spec
    return {**spec, "podCIDR": cidr, "podCIDRs": spec["podCIDRs"] if cidr == first else [cidr]}


def _complete_template(owner: Object) -> Object:
    template = owner.get("spec", {}).get("template") or {}
    return {
        **template,
        "metadata": template.get("metadata") or {},
        "spec": complete_pod_spec(template.get("spec") or {}),
    }


def _complete_deployment(deployment: Object) -> Object:
    given = deployment.get("spec") or {}
    strategy = given.get("strategy") or {}
    if strategy.get("type", "RollingUpdate") == "RollingUpdate":
        limits = {"maxUnavailable": "25%", "maxSurge": "25%"}
        strategy = {
            "type": "RollingUpdate",
            "rollingUpdate": limits | (strategy.get("rollingUpdate") or {}),
        }
    spec = {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        **given,
        "strategy": strategy,
        "template": _complete_template(deployment),
    }
    return {**deployment, "spec": spec, "status": deployment.get("status") or {}}


def _complete_replicas(owner: Object) -> Object:
    given = owner.get("spec") or {}
    spec = {"replicas": 1, **given, "template": _complete_template(owner)}
    return {**owner, "spec": spec, "status": owner.get("status") or {"replicas": 0}}


def _complete_budget(budget: Object) -> Object:
    counts = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    status = dict.fromkeys(counts, 0) | (budget.get("status") or {})
    return {**budget, "spec": budget.get("spec") or {}, "status": status}


def _complete_service(service: Object) -> Object:
    given = service.get("spec") or {}
    spec: Object = {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        **given,
    }
    if spec["type"] != "ExternalName":
        address = given.get("clusterIP") or _cluster_ip(service.get("metadata") or {})
        spec = {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", **spec}
        spec |= {"clusterIP": address, "clusterIPs": [address]}
    if given.get("ports"):
        spec["ports"] = [
            {"protocol": "TCP", "targetPort": port.get("port"), **port} for port in given["ports"]
        ]
    return {**service, "spec": spec, "status": service.get("status") or {"loadBalancer": {}}}


_SERVICE_ADDRESSES = ipaddress.ip_network("10.96.0.0/12")


def _cluster_ip(meta: Object) -> str:
    """An address that depends on the service's name alone: nothing routes to it here."""
    identity = f"{meta.get('namespace')}/{meta.get('name')}".encode()
    usable = _SERVICE_ADDRESSES.num_addresses - 258
    return str(_SERVICE_ADDRESSES[256 + zlib.crc32(identity) % usable])


_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def _with_class(claim: Object, among: Objects) -> Object:
    """Let a claim that names no storage class name the newest of the default ones."""
    if "storageClassName" in (claim.get("spec") or {}):
        return claim
    marked = [
        each
        for each in among.list(r.STORAGE_CLASSES)
        if (each["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
    ]
    if not marked:
        return claim
    newest = max(marked, key=lambda each: str(each["metadata"]["creationTimestamp"]))
    name = newest["metadata"]["name"]
    return {**claim, "spec": {**(claim.get("spec") or {}), "storageClassName": name}}


def _complete_claim(claim: Object) -> Object:
    spec = {"volumeMode": "Filesystem", **(claim.get("spec") or {})}
    return {**claim, "spec": spec, "status": claim.get("status") or {"phase": "Pending"}}


def _complete_volume(volume: Object) -> Object:
    given = volume.get("spec") or {}
    spec = {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem", **given}
    return {**volume, "spec": spec, "status": volume.get("status") or {"phase": "Pending"}}


def _complete_storage_class(storage_class: Object) -> Object:
    return {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate", **storage_class}


def _complete_priority_class(priority_class: Object) -> Object:
    return {"preemptionPolicy": "PreemptLowerPriority", "value": 0, **priority_class}


def _complete_definition(definition: Object) -> Object:
    given = definition.get("spec") or {}
    names = given.get("names") or {}
    kind = names.get("kind", "")
    full = {"singular": kind.lower(), "listKind": f"{kind}List", **names}
    spec = {"conversion": {"strategy": "None"}, **given, "names": full}
    return {**definition, "spec": spec}


def _complete_event(event: Object) -> Object:
    nothing: Object = {"deprecatedSource": {}, "deprecatedFirstTimestamp": None}
    return {**nothing, "deprecatedLastTimestamp": None, "eventTime": None, **event}


_COMPLETERS: dict[str, Callable[[Object], Object]] = {
    r.NAMESPACES.table: _complete_namespace,
    r.NODES.table: _complete_node,
    r.DEPLOYMENTS.table: _complete_deployment,
    r.REPLICASETS.table: _complete_replicas,
    r.REPLICATION_CONTROLLERS.table: _complete_replicas,
    r.STATEFUL_SETS.table: _complete_replicas,
    r.PDBS.table: _complete_budget,
    r.SERVICES.table: _complete_service,
    r.PVCS.table: _complete_claim,
    r.PVS.table: _complete_volume,
    r.STORAGE_CLASSES.table: _complete_storage_class,
    r.PRIORITY_CLASSES.table: _complete_priority_class,
    r.EVENTS.table: _complete_event,
    r.CUSTOM_RESOURCE_DEFINITIONS.table: _complete_definition,
}


def bootstrap_objects() -> list[tuple[Resource, Object]]:
    """What every cluster has from the start: namespaces, the API's service, system priorities."""
    found: list[tuple[Resource, Object]] = [
        (r.NAMESPACES, {"metadata": {"name": name}})
        for name in ("default", "kube-node-lease", "kube-public", "kube-system")
    ]
    ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]
    service = {
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {"clusterIP": "10.96.0.1", "ports": ports},
    }
    found.append((r.SERVICES, service))
    for name, value in SYSTEM_PRIORITIES.items():
        described = "Used for system critical pods that must " + (
            "run in the cluster, but can be moved to another node if necessary."
            if name == "system-cluster-critical"
            else "not be moved from their current node."
        )
        found.append(
            (
                r.PRIORITY_CLASSES,
                {"metadata": {"name": name}, "value": value, "description": described},
            )
        )
    return found
