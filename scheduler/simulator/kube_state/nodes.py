"""Metrics of nodes."""

from typing import Final

from scheduler.simulator.kube_state.families import (
    Family,
    Kind,
    Sample,
    instant,
    label,
    one_of,
    resources,
)
from scheduler.simulator.resources import NODES, Object

_ROLE: Final = "node-role.kubernetes.io/"
_STATUSES: Final = ("true", "false", "unknown")


def _info(node: Object) -> list[Sample]:
    about = node["status"].get("nodeInfo") or {}
    addresses = node["status"].get("addresses") or ()
    ips = [each["address"] for each in addresses if each["type"] == "InternalIP"]
    labels = (
        ("kernel_version", about.get("kernelVersion", "")),
        ("os_image", about.get("osImage", "")),
        ("container_runtime_version", about.get("containerRuntimeVersion", "")),
        ("kubelet_version", about.get("kubeletVersion", "")),
        ("kubeproxy_version", about.get("kubeProxyVersion", "")),
        ("provider_id", node["spec"].get("providerID", "")),
        ("pod_cidr", node["spec"].get("podCIDR", "")),
        ("system_uuid", about.get("systemUUID", "")),
        ("internal_ip", ips[0] if ips else ""),
    )
    return [("".join([label(name, value) for name, value in labels]), 1)]


def _roles(node: Object) -> list[Sample]:
    labels = node["metadata"].get("labels") or {}
    return [
        (label("role", name.removeprefix(_ROLE)), 1) for name in labels if name.startswith(_ROLE)
    ]


def _taints(node: Object) -> list[Sample]:
    return [
        (
            label("key", taint["key"])
            + label("value", taint.get("value", ""))
            + label("effect", taint["effect"]),
            1,
        )
        for taint in node["spec"].get("taints") or ()
    ]


def _conditions(node: Object) -> list[Sample]:
    return [
        (f"{label('condition', condition['type'])}{more}", holds)
        for condition in node["status"].get("conditions") or ()
        for more, holds in one_of("status", _STATUSES, actual=condition["status"].lower())
    ]


OF_NODES: Final = Kind(
    NODES,
    lambda node: f'node="{node["metadata"]["name"]}"',
    (
        Family("kube_node_info", "Information about a cluster node.", _info),
        Family(
            "kube_node_created",
            "Unix creation timestamp",
            lambda node: instant(node["metadata"]["creationTimestamp"]),
        ),
        Family("kube_node_role", "The role of a cluster node.", _roles),
        Family(
            "kube_node_spec_unschedulable",
            "Whether a node is closed to new pods.",
            lambda node: [("", bool(node["spec"].get("unschedulable")))],
        ),
        Family("kube_node_spec_taint", "The taint of a cluster node.", _taints),
        Family(
            "kube_node_status_capacity",
            "The total amount of resources of a node.",
            lambda node: resources(node["status"].get("capacity")),
        ),
        Family(
            "kube_node_status_allocatable",
            "The amount of resources that a node has for pods.",
            lambda node: resources(node["status"].get("allocatable")),
        ),
        Family("kube_node_status_condition", "The condition of a cluster node.", _conditions),
    ),
)
