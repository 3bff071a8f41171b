"""The node's side of the kubelets: register, send heartbeats, report conditions and images."""

from typing import Final

from kube.instants import rfc3339, rfc3339_micro
from scheduler.simulator.chance import key_of
from scheduler.simulator.hardware import NodeSpec
from scheduler.simulator.kubelet.addresses import Addresses
from scheduler.simulator.kubelet.announcements import Announcer
from scheduler.simulator.resources import LEASES, NODES, Object
from scheduler.simulator.store import Store
from scheduler.simulator.world import World

KUBELET_VERSION: Final = "v1.36.0"
LEASE_NAMESPACE: Final = "kube-node-lease"
LEASE_S: Final = 40
_MAX_IMAGES: Final = 50


class NodeKubelets:
    """What the kubelets of all nodes do about their nodes.

    Args:
        store: Where they report.
        world: What they look at.
        addresses: Where nodes and their pods get theirs.
        announcer: Tells people by events.
    """

    def __init__(
        self, store: Store, *, world: World, addresses: Addresses, announcer: Announcer
    ) -> None:
        self._store = store
        self._world = world
        self._physics = world.physics.nodes
        self._announcer = announcer
        self._specs: dict[str, NodeSpec] = {}
        self._addresses = addresses
        self._has_pressure: dict[str, bool] = {}
        self._renew_at_s: dict[str, float] = {}
        self._report_at_s: dict[str, float] = {}

    def add(self, spec: NodeSpec, *, now_s: float) -> None:
        """Start a node's kubelet: it registers the node, or takes over the object that exists."""
        name = spec.name
        self._specs[name] = spec
        self._has_pressure[name] = False
        if self._store.find(NODES, None, name) is None:
            self._store.create(NODES, self._node_object(spec, now_s=now_s))
        self._report(name, now_s=now_s)
        self._renew(name, now_s=now_s)
        # Heartbeats of many nodes are spread out, as they are in a real cluster.
        wait_s = self._physics.heartbeat_s
        self._renew_at_s[name] = now_s + wait_s * (key_of("lease", name) % 1000 + 1) / 1000
        self._announcer.tell_node(name, reason="Starting", note="Starting kubelet.")

    def drop(self, name: str) -> None:
        """Stop a node's kubelet."""
        for known in (self._specs, self._has_pressure, self._renew_at_s, self._report_at_s):
            known.pop(name, None)

    def set_pressure(self, name: str, *, has_memory_pressure: bool, now_s: float) -> None:
        """Report that memory is short, or no longer."""
        self._has_pressure[name] = has_memory_pressure
        if has_memory_pressure:
            self._announcer.tell_node(
                name,
                reason="EvictionThresholdMet",
                note="Attempting to reclaim memory",
                type_="Warning",
            )
        reason = "NodeHasInsufficientMemory" if has_memory_pressure else "NodeHasSufficientMemory"
        self._announcer.tell_node(name, reason=reason, note=f"Node {name} status is now: {reason}")
        if self._world.is_up(name):
            self._report(name, now_s=now_s)

    def recover(self, name: str, *, now_s: float) -> None:
        """Report that a node has booted."""
        self._announcer.tell_node(name, reason="Starting", note="Starting kubelet.")
        self._announcer.tell_node(
            name,
            reason="Rebooted",
            note=f"Node {name} has been rebooted, boot id: {key_of('boot', name, now_s):016x}",
            type_="Warning",
        )
        self._report(name, now_s=now_s)
        self._renew(name, now_s=now_s)
        note = f"Node {name} status is now: NodeReady"
        self._announcer.tell_node(name, reason="NodeReady", note=note)

    def beat(self, now_s: float) -> None:
        """Send the heartbeats that are due."""
        for name in self._specs:
            if not self._world.is_up(name):
                continue
            if self._renew_at_s[name] <= now_s:
                self._renew(name, now_s=now_s)
            if self._report_at_s[name] <= now_s:
                self._report(name, now_s=now_s)

    # --- details

    def _renew(self, name: str, *, now_s: float) -> None:
        due_s = self._renew_at_s.get(name, now_s)
        wait_s = self._physics.heartbeat_s
        missed = max(0.0, now_s - due_s) // wait_s
        self._renew_at_s[name] = due_s + wait_s * (missed + 1)
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_S,
            "renewTime": rfc3339_micro(now_s),
        }
        found = self._store.find(LEASES, LEASE_NAMESPACE, name)
        if found is not None:
            self._store.put(LEASES, found, spec={**found["spec"], **spec})
            return
        node = self._store.find(NODES, None, name)
        meta: Object = {"name": name, "namespace": LEASE_NAMESPACE}
        if node is not None:
            owner = {"apiVersion": "v1", "kind": "Node", "name": name}
            meta["ownerReferences"] = [{**owner, "uid": node["metadata"]["uid"]}]
        self._store.create(LEASES, {"metadata": meta, "spec": spec})

    def _report(self, name: str, *, now_s: float) -> None:
        self._report_at_s[name] = now_s + self._physics.status_s
        node = self._store.find(NODES, None, name)
        if node is None:
            return
        status = self._status(self._specs[name], node["status"], now_s=now_s)
        self._store.update(NODES, {**node, "status": status})

    def _node_object(self, spec: NodeSpec, *, now_s: float) -> Object:
        labels = node_labels(spec, index=self._addresses.index_of(spec.name))
        cidr = self._addresses.pod_cidr(spec.name)
        return {
            "metadata": {"name": spec.name, "labels": labels},
            "spec": {
                "podCIDR": cidr,
                "podCIDRs": [cidr],
                "providerID": f"simulator://{spec.name}",
            },
            "status": self._status(spec, {}, now_s=now_s),
        }

    def _status(self, spec: NodeSpec, old: Object, *, now_s: float) -> Object:
        amounts = {
            "cpu": _cpu(spec.cpu_milli),
            "memory": f"{spec.memory_bytes // 1024}Ki",
            "pods": str(spec.max_pods),
        }
        allocatable = {
            "cpu": _cpu(spec.allocatable_cpu_milli),
            "memory": f"{spec.allocatable_memory_bytes // 1024}Ki",
            "pods": str(spec.max_pods),
        }
        images = sorted(self._world.images(spec.name).items(), key=lambda item: -item[1])
        return {
            **old,
            "capacity": _extended(old.get("capacity")) | amounts,
            "allocatable": _extended(old.get("allocatable")) | allocatable,
            "conditions": self._conditions(spec.name, old.get("conditions") or (), now_s=now_s),
            "addresses": [
                {"type": "InternalIP", "address": self._addresses.node_ip(spec.name)},
                {"type": "Hostname", "address": spec.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": _node_info(spec.name),
            "images": [{"names": [name], "sizeBytes": size} for name, size in images[:_MAX_IMAGES]],
        }

    def _conditions(
        self, name: str, old: list[Object] | tuple[()], *, now_s: float
    ) -> list[Object]:
        before = {condition.get("type"): condition for condition in old}
        pressure = self._has_pressure[name]
        memory = "KubeletHasInsufficientMemory" if pressure else "KubeletHasSufficientMemory"
        wanted = [
            ("MemoryPressure", pressure, memory, _MEMORY_MESSAGE[pressure]),
            ("DiskPressure", False, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            (
                "PIDPressure",
                False,
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
            ),
            ("Ready", True, "KubeletReady", "kubelet is posting ready status"),
        ]
        found = []
        for type_, is_true, reason, message in wanted:
            status = "True" if is_true else "False"
            earlier = before.get(type_)
            is_same = earlier is not None and earlier.get("status") == status
            since = (is_same and earlier and earlier.get("lastTransitionTime")) or rfc3339(now_s)
            found.append(
                {
                    "type": type_,
                    "status": status,
                    "lastHeartbeatTime": rfc3339(now_s),
                    "lastTransitionTime": since,
                    "reason": reason,
                    "message": message,
                }
            )
        return found


_MEMORY_MESSAGE: Final = {
    True: "kubelet has insufficient memory available",
    False: "kubelet has sufficient memory available",
}


def node_labels(spec: NodeSpec, *, index: int) -> dict[str, str]:
    """The labels that a kubelet gives its node; *index* counts the cluster's nodes as they come."""
    return {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": spec.name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": _instance_type(spec),
        "topology.kubernetes.io/region": "sim",
        "topology.kubernetes.io/zone": f"sim-{'abc'[index % 3]}",
    }


def _cpu(cpu_milli: int) -> str:
    return str(cpu_milli // 1000) if cpu_milli % 1000 == 0 else f"{cpu_milli}m"


def _instance_type(spec: NodeSpec) -> str:
    return f"sim.{_cpu(spec.cpu_milli)}x{spec.memory_bytes // 2**30}"


def _extended(amounts: Object | None) -> Object:
    """Pick what others advertise on a node, which kubelets leave as it is."""
    return {name: amount for name, amount in (amounts or {}).items() if "/" in name}


def _node_info(name: str) -> Object:
    machine = f"{key_of('machine', name):016x}" * 2
    uuid = f"{machine[:8]}-{machine[8:12]}-{machine[12:16]}-{machine[16:20]}-{machine[20:]}"
    return {
        "machineID": machine,
        "systemUUID": uuid,
        "bootID": uuid,
        "kernelVersion": "6.12.0-simulated",
        "osImage": "Simulated Linux",
        "containerRuntimeVersion": "containerd://2.2.0",
        "kubeletVersion": KUBELET_VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": "amd64",
    }
