"""Objects as table rows, with the columns and cells that a real server prints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scheduler.simulator import resources as r
from scheduler.simulator.apiserver import table_columns as columns
from scheduler.simulator.apiserver.conversion import from_stored
from scheduler.simulator.apiserver.custom_columns import cells_of, columns_of
from scheduler.simulator.apiserver.durations import since
from scheduler.simulator.apiserver.pod_rows import pod_row
from scheduler.simulator.apiserver.table_columns import Column
from scheduler.simulator.apiserver.texts import partial_metadata
from scheduler.simulator.resources import Object, Resource

_NONE = "<none>"
_ROLE = "node-role.kubernetes.io/"
_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


@dataclass(frozen=True, slots=True)
class _Printer:
    columns: tuple[Column, ...]
    row: Callable[[Object, float], list[Any]]


def table_of(
    resource: Resource,
    objects: Sequence[Object],
    metadata: Object,
    *,
    include: str,
    now_s: float,
) -> Object:
    """A table of stored objects.

    Args:
        resource: What they are.
        objects: In the order of the rows.
        metadata: Of the list.
        include: How much of each object comes along: ``None``, ``Metadata`` or ``Object``.
        now_s: Virtual time, for ages.
    """
    printer = _printer_of(resource)
    rows: list[Object] = []
    for obj in objects:
        row: Object = {"cells": printer.row(obj, now_s)}
        if include == "Object":
            row["object"] = from_stored(resource, obj)
        elif include != "None":
            row["object"] = partial_metadata(obj)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [column.definition() for column in printer.columns],
        "rows": rows,
    }


def _printer_of(resource: Resource) -> _Printer:
    if not resource.is_custom:
        return _PRINTERS.get(resource.table, _OTHER)
    wanted = resource.columns
    if not wanted:
        return _CUSTOM
    return _Printer(
        (columns.NAME, *columns_of(wanted)),
        lambda obj, now_s: [_name(obj), *cells_of(obj, wanted, now_s=now_s)],
    )


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _age(obj: Object, now_s: float) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now_s=now_s)


def _node_row(node: Object, now_s: float) -> list[Any]:
    status = node.get("status") or {}
    info = status.get("nodeInfo") or {}
    return [
        _name(node),
        _node_state(node),
        _roles(node),
        _age(node, now_s),
        info.get("kubeletVersion", ""),
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _node_state(node: Object) -> str:
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = next((each for each in conditions if each.get("type") == "Ready"), None)
    words = ["Unknown"]
    if ready is not None:
        words = ["Ready" if ready.get("status") == "True" else "NotReady"]
    if node["spec"].get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(node: Object) -> str:
    labels = node["metadata"].get("labels") or {}
    found = {key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE)} - {""}
    if labels.get("kubernetes.io/role"):
        found.add(labels["kubernetes.io/role"])
    return ",".join(sorted(found)) or _NONE


def _address(status: Object, kind: str) -> str:
    addresses = status.get("addresses") or ()
    return next((each["address"] for each in addresses if each.get("type") == kind), _NONE)


def _template_cells(owner: Object) -> list[Any]:
    containers = owner["spec"]["template"]["spec"].get("containers") or ()
    names = ",".join(each.get("name", "") for each in containers)
    images = ",".join(each.get("image", "") for each in containers)
    return [names, images, _selector_text(owner["spec"].get("selector"))]


def _selector_text(selector: Object | None) -> str:
    if not selector:
        return _NONE
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for each in selector.get("matchExpressions") or ():
        values = ",".join(sorted(each.get("values") or ()))
        words = {"In": f"{each['key']} in ({values})", "NotIn": f"{each['key']} notin ({values})"}
        negated = "!" if each["operator"] == "DoesNotExist" else ""
        parts.append(words.get(each["operator"], f"{negated}{each['key']}"))
    return ",".join(parts) or _NONE


def _deployment_row(deployment: Object, now_s: float) -> list[Any]:
    status = deployment.get("status") or {}
    return [
        _name(deployment),
        f"{status.get('readyReplicas', 0)}/{deployment['spec'].get('replicas', 1)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _age(deployment, now_s),
        *_template_cells(deployment),
    ]


def _replica_set_row(replica_set: Object, now_s: float) -> list[Any]:
    status = replica_set.get("status") or {}
    return [
        _name(replica_set),
        replica_set["spec"].get("replicas", 1),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        _age(replica_set, now_s),
        *_template_cells(replica_set),
    ]


def _stateful_set_row(stateful_set: Object, now_s: float) -> list[Any]:
    ready = (stateful_set.get("status") or {}).get("readyReplicas", 0)
    wanted = stateful_set["spec"].get("replicas", 1)
    cells = _template_cells(stateful_set)[:2]
    return [_name(stateful_set), f"{ready}/{wanted}", _age(stateful_set, now_s), *cells]


def _event_row(event: Object, now_s: float) -> list[Any]:
    about = event.get("regarding") or {}
    series = event.get("series") or {}
    first = event.get("deprecatedFirstTimestamp") or event.get("eventTime")
    last = series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or first
    source = event.get("deprecatedSource") or {}
    parts = [source.get("component") or event.get("reportingController", ""), source.get("host")]
    return [
        since(last, now_s=now_s),
        event.get("type", ""),
        event.get("reason", ""),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        ", ".join(part for part in parts if part),
        event.get("note", "").strip(),
        since(first, now_s=now_s),
        series.get("count") or event.get("deprecatedCount") or 1,
        _name(event),
    ]


def _namespace_row(namespace: Object, now_s: float) -> list[Any]:
    phase = (namespace.get("status") or {}).get("phase", "")
    return [_name(namespace), phase, _age(namespace, now_s)]


def _lease_row(lease: Object, now_s: float) -> list[Any]:
    return [_name(lease), (lease.get("spec") or {}).get("holderIdentity", ""), _age(lease, now_s)]


def _budget_row(budget: Object, now_s: float) -> list[Any]:
    spec = budget["spec"]
    return [
        _name(budget),
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        budget["status"].get("disruptionsAllowed", 0),
        _age(budget, now_s),
    ]


def _service_row(service: Object, now_s: float) -> list[Any]:
    spec = service["spec"]
    selector = spec.get("selector") or {}
    return [
        _name(service),
        spec.get("type", ""),
        spec.get("clusterIP") or _NONE,
        _external(service),
        ",".join(_port_text(port) for port in spec.get("ports") or ()) or _NONE,
        _age(service, now_s),
        ",".join(f"{key}={value}" for key, value in sorted(selector.items())) or _NONE,
    ]


def _port_text(port: Object) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{node_port}/{port.get('protocol', 'TCP')}"


def _external(service: Object) -> str:
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return spec.get("externalName") or _NONE
    given = list(spec.get("externalIPs") or ())
    if spec.get("type") == "LoadBalancer":
        ingress = service["status"].get("loadBalancer", {}).get("ingress") or ()
        given = [each.get("ip") or each.get("hostname", "") for each in ingress] + given
        return ",".join(given) or "<pending>"
    return ",".join(given) or _NONE


def _priority_class_row(priority_class: Object, now_s: float) -> list[Any]:
    return [
        _name(priority_class),
        priority_class.get("value", 0),
        priority_class.get("globalDefault", False),
        _age(priority_class, now_s),
        priority_class.get("preemptionPolicy", ""),
    ]


def _modes(spec: Object) -> str:
    return ",".join(_MODES.get(mode, mode) for mode in spec.get("accessModes") or ())


def _phase(obj: Object) -> str:
    phase = obj["status"].get("phase", "")
    return "Terminating" if "deletionTimestamp" in obj["metadata"] else phase


def _volume_row(volume: Object, now_s: float) -> list[Any]:
    spec = volume["spec"]
    claim = spec.get("claimRef") or {}
    return [
        _name(volume),
        (spec.get("capacity") or {}).get("storage", ""),
        _modes(spec),
        spec.get("persistentVolumeReclaimPolicy", ""),
        _phase(volume),
        f"{claim.get('namespace', '')}/{claim['name']}" if claim.get("name") else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or "<unset>",
        volume["status"].get("reason", ""),
        _age(volume, now_s),
        spec.get("volumeMode") or "<unset>",
    ]


def _claim_row(claim: Object, now_s: float) -> list[Any]:
    spec, status = claim["spec"], claim["status"]
    volume = spec.get("volumeName", "")
    return [
        _name(claim),
        _phase(claim),
        volume,
        (status.get("capacity") or {}).get("storage", "") if volume else "",
        _modes(status) if volume else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or "<unset>",
        _age(claim, now_s),
        spec.get("volumeMode") or "<unset>",
    ]


def _storage_class_row(storage_class: Object, now_s: float) -> list[Any]:
    annotations = storage_class["metadata"].get("annotations") or {}
    is_default = annotations.get(_DEFAULT_CLASS) == "true"
    return [
        _name(storage_class) + (" (default)" if is_default else ""),
        storage_class.get("provisioner", ""),
        storage_class.get("reclaimPolicy", ""),
        storage_class.get("volumeBindingMode", ""),
        storage_class.get("allowVolumeExpansion", False),
        _age(storage_class, now_s),
    ]


def _config_map_row(config_map: Object, now_s: float) -> list[Any]:
    n_entries = len(config_map.get("data") or ()) + len(config_map.get("binaryData") or ())
    return [_name(config_map), n_entries, _age(config_map, now_s)]


def _secret_row(secret: Object, now_s: float) -> list[Any]:
    return [
        _name(secret),
        secret.get("type", "Opaque"),
        len(secret.get("data") or ()),
        _age(secret, now_s),
    ]


def _service_account_row(account: Object, now_s: float) -> list[Any]:
    return [_name(account), len(account.get("secrets") or ()), _age(account, now_s)]


def _csi_node_row(csi_node: Object, now_s: float) -> list[Any]:
    n_drivers = len((csi_node.get("spec") or {}).get("drivers") or ())
    return [_name(csi_node), n_drivers, _age(csi_node, now_s)]


_CUSTOM = _Printer(columns.CUSTOM_COLUMNS, lambda obj, now_s: [_name(obj), _age(obj, now_s)])
_OTHER = _Printer(
    columns.CREATED_COLUMNS,
    lambda obj, _now_s: [_name(obj), obj["metadata"].get("creationTimestamp", "")],
)
_PRINTERS: Mapping[str, _Printer] = {
    r.NODES.table: _Printer(columns.NODE_COLUMNS, _node_row),
    r.PODS.table: _Printer(columns.POD_COLUMNS, pod_row),
    r.DEPLOYMENTS.table: _Printer(columns.DEPLOYMENT_COLUMNS, _deployment_row),
    r.REPLICASETS.table: _Printer(columns.REPLICASET_COLUMNS, _replica_set_row),
    r.STATEFUL_SETS.table: _Printer(columns.STATEFUL_SET_COLUMNS, _stateful_set_row),
    r.EVENTS.table: _Printer(columns.EVENT_COLUMNS, _event_row),
    r.NAMESPACES.table: _Printer(columns.NAMESPACE_COLUMNS, _namespace_row),
    r.LEASES.table: _Printer(columns.LEASE_COLUMNS, _lease_row),
    r.PDBS.table: _Printer(columns.BUDGET_COLUMNS, _budget_row),
    r.SERVICES.table: _Printer(columns.SERVICE_COLUMNS, _service_row),
    r.PRIORITY_CLASSES.table: _Printer(columns.PRIORITY_CLASS_COLUMNS, _priority_class_row),
    r.PVS.table: _Printer(columns.VOLUME_COLUMNS, _volume_row),
    r.PVCS.table: _Printer(columns.CLAIM_COLUMNS, _claim_row),
    r.STORAGE_CLASSES.table: _Printer(columns.STORAGE_CLASS_COLUMNS, _storage_class_row),
    r.CONFIG_MAPS.table: _Printer(columns.CONFIG_MAP_COLUMNS, _config_map_row),
    r.SECRETS.table: _Printer(columns.SECRET_COLUMNS, _secret_row),
    r.SERVICE_ACCOUNTS.table: _Printer(columns.SERVICE_ACCOUNT_COLUMNS, _service_account_row),
    r.CSI_NODES.table: _Printer(columns.CSI_NODE_COLUMNS, _csi_node_row),
}
