"""Nodes and pods of scheduler_perf, as an API server would send them.

The shapes are those of ``test/integration/scheduler_perf/templates`` in kubernetes/kubernetes:
``node-default``, ``pod-default``, ``pod-with-node-affinity``, ``pod-with-topology-spreading``,
``pod-with-pod-anti-affinity``, ``pod-with-pod-affinity``, ``pod-anti-affinity-ns-selector``,
``pod-low-priority``, ``pod-high-priority`` and ``namespace-with-labels``.
"""

from collections.abc import Callable, Mapping
from typing import Any

ZONE = "topology.kubernetes.io/zone"
HOSTNAME = "kubernetes.io/hostname"
SCHED_NAMESPACES = ("sched-0", "sched-1")
TEAM = {"team": "devops"}

Json = dict[str, Any]
Template = Callable[..., Json]


def node(name: str, *, labels: Mapping[str, str] | None = None) -> Json:
    """``node-default``: 4 cpu, 32Gi, 110 pods."""
    amounts = {"cpu": "4", "memory": "32Gi", "pods": "110"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "uid": f"uid-of-{name}", "labels": dict(labels or {})},
        "spec": {},
        "status": {"capacity": amounts, "allocatable": amounts, "conditions": [ready]},
    }


def namespace(name: str, *, labels: Mapping[str, str] | None = None) -> Json:
    """``namespace-with-labels``."""
    metadata = {"name": name, "uid": f"uid-of-{name}", "labels": dict(labels or {})}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def pod(
    name: str,
    *,
    namespace: str = "default",
    cpu: str = "100m",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Json:
    """``pod-default``: one container that asks for 100m and 500Mi; *spec* adds to its spec."""
    amounts = {"cpu": cpu, "memory": "500Mi"}
    container = {
        "name": "pause",
        "image": "registry.k8s.io/pause:3.10",
        "ports": [{"containerPort": 80, "protocol": "TCP"}],
        "resources": {"requests": amounts, "limits": amounts},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-of-{namespace}/{name}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
        },
        "spec": {"schedulerName": "ai-scheduler", "containers": [container], **spec},
        "status": {"phase": "Pending"},
    }


def node_affinity_pod(name: str, **fields: Any) -> Json:
    """``pod-with-node-affinity``: zone1 or zone2."""
    zones = {"key": ZONE, "operator": "In", "values": ["zone1", "zone2"]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [zones]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return pod(name, affinity=affinity, **fields)


def zone_spread_pod(name: str, **fields: Any) -> Json:
    """``pod-with-topology-spreading``: blue pods over zones, maxSkew 5, DoNotSchedule."""
    constraint = {
        "maxSkew": 5,
        "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"color": "blue"}},
    }
    labels = {"color": "blue"}
    return pod(name, labels=labels, topologySpreadConstraints=[constraint], **fields)


def _term(color: str, *, key: str, **fields: Any) -> Json:
    return {"labelSelector": {"matchLabels": {"color": color}}, "topologyKey": key, **fields}


def _pod_affinity(kind: str, term: Json) -> Json:
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def hostname_anti_affinity_pod(
    name: str, *, namespaces: tuple[str, ...] = SCHED_NAMESPACES, **fields: Any
) -> Json:
    """``pod-with-pod-anti-affinity``: no two green pods on a node."""
    term = _term("green", key=HOSTNAME, namespaces=list(namespaces))
    affinity = _pod_affinity("podAntiAffinity", term)
    return pod(name, labels={"color": "green", "name": "test"}, affinity=affinity, **fields)


def zone_affinity_pod(
    name: str, *, namespaces: tuple[str, ...] = SCHED_NAMESPACES, **fields: Any
) -> Json:
    """``pod-with-pod-affinity``: where other blue pods are, by zone."""
    term = _term("blue", key=ZONE, namespaces=list(namespaces))
    return pod(
        name, labels={"color": "blue"}, affinity=_pod_affinity("podAffinity", term), **fields
    )


def namespace_selector_pod(name: str, **fields: Any) -> Json:
    """``pod-anti-affinity-ns-selector``: as above over all namespaces of the team."""
    term = _term("green", key=HOSTNAME, namespaceSelector={"matchLabels": TEAM})
    affinity = _pod_affinity("podAntiAffinity", term)
    return pod(name, labels={"color": "green"}, affinity=affinity, **fields)


def low_priority_pod(name: str, **fields: Any) -> Json:
    """``pod-low-priority``: four of them fill a node."""
    return pod(name, cpu="900m", terminationGracePeriodSeconds=0, **fields)


def high_priority_pod(name: str, **fields: Any) -> Json:
    """``pod-high-priority``: takes three cpu, so three of the low must go."""
    return pod(name, cpu="3000m", terminationGracePeriodSeconds=0, priority=10, **fields)


def gang_pod(name: str, *, n_members: int, **fields: Any) -> Json:
    """A member of the gang ``crew`` of *n_members* (this project's annotations)."""
    annotations = {"pod-group": "crew", "pod-group-size": str(n_members)}
    return pod(name, annotations=annotations, **fields)
