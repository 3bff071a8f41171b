"""The columns of the tables that the server prints, as discovery of a table describes them.

The descriptions of nodes and pods are the API's own, since they are part of the protocol; the
others say in a few words what the cell holds.
"""

from dataclasses import dataclass

from scheduler.simulator.resources import Object


@dataclass(frozen=True, slots=True)
class Column:
    """One column; those of priority 1 show only in wide output."""

    name: str
    description: str = ""
    type: str = "string"
    priority: int = 0

    def definition(self) -> Object:
        """As a table's ``columnDefinitions`` has it."""
        return {
            "name": self.name,
            "type": self.type,
            "format": "name" if self.name == "Name" else "",
            "description": self.description,
            "priority": self.priority,
        }


NAME = Column(
    "Name",
    (
        "Name must be unique within a namespace. Is required when creating resources, "
        "although some resources may allow a client to request the generation of an "
        "appropriate name automatically. Name is primarily intended for creation "
        "idempotence and configuration definition. Cannot be updated. More info: "
        "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
    ),
)
AGE = Column(
    "Age",
    (
        "CreationTimestamp is a timestamp representing the server time when this object "
        "was created. It is not guaranteed to be set in happens-before order across "
        "separate operations. Clients may not set this value. It is represented in "
        "RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for "
        "lists. More info: "
        "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
    ),
)
_ADDRESSES = (
    "List of addresses reachable to the node. Queried from cloud provider, if available. "
    "More info: https://kubernetes.io/docs/reference/node/node-status/#addresses Note: "
    "This field is declared as mergeable, but the merge key is not sufficiently unique, "
    "which can cause data corruption when it is merged. Callers should instead use a "
    "full-replacement patch. See https://pr.k8s.io/79391 for an example. Consumers "
    "should assume that addresses can change during the lifetime of a Node. However, "
    "there are some exceptions where this may not be possible, such as Pods that inherit "
    "a Node's address in its own status or consumers of the downward API "
    "(status.hostIP)."
)

NODE_COLUMNS = (
    NAME,
    Column(
        "Status",
        "The status of the node",
    ),
    Column(
        "Roles",
        "The roles of the node",
    ),
    AGE,
    Column(
        "Version",
        "Kubelet Version reported by the node.",
    ),
    Column(
        "Internal-IP",
        _ADDRESSES,
        priority=1,
    ),
    Column(
        "External-IP",
        _ADDRESSES,
        priority=1,
    ),
    Column(
        "OS-Image",
        ("OS Image reported by the node from /etc/os-release (e.g. Debian GNU/Linux 7 (wheezy))."),
        priority=1,
    ),
    Column(
        "Kernel-Version",
        ("Kernel Version reported by the node from 'uname -r' (e.g. 3.16.0-0.bpo.4-amd64)."),
        priority=1,
    ),
    Column(
        "Container-Runtime",
        (
            "ContainerRuntime Version reported by the node through runtime remote API "
            "(e.g. containerd://1.4.2)."
        ),
        priority=1,
    ),
)

POD_COLUMNS = (
    NAME,
    Column(
        "Ready",
        "The aggregate readiness state of this pod for accepting traffic.",
    ),
    Column(
        "Status",
        "The aggregate status of the containers in this pod.",
    ),
    Column(
        "Restarts",
        (
            "The number of times the containers in this pod have been restarted and when "
            "the last container in this pod has restarted."
        ),
    ),
    AGE,
    Column(
        "IP",
        (
            "podIP address allocated to the pod. Routable at least within the cluster. "
            "Empty if not yet allocated."
        ),
        priority=1,
    ),
    Column(
        "Node",
        (
            "NodeName indicates in which node this pod is scheduled. If empty, this pod "
            "is a candidate for scheduling by the scheduler defined in schedulerName. "
            "Once this field is set, the kubelet for this node becomes responsible for "
            "the lifecycle of this pod. This field should not be used to express a "
            "desire for the pod to be scheduled on a specific node. "
            "https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename"
        ),
        priority=1,
    ),
    Column(
        "Nominated Node",
        (
            "nominatedNodeName is set only when this pod preempts other pods on the "
            "node, but it cannot be scheduled right away as preemption victims receive "
            "their graceful termination periods. This field does not guarantee that the "
            "pod will be scheduled on this node. Scheduler may decide to place the pod "
            "elsewhere if other nodes become available sooner. Scheduler may also decide "
            "to give the resources on this node to a higher priority pod that is created "
            "after preemption. As a result, this field may be different than "
            "PodSpec.nodeName when the pod is scheduled."
        ),
        priority=1,
    ),
    Column(
        "Readiness Gates",
        (
            "If specified, all readiness gates will be evaluated for pod readiness. A "
            "pod is ready when all its containers are ready AND all conditions specified "
            'in the readiness gates have status equal to "True" More info: '
            "https://git.k8s.io/enhancements/keps/sig-network/580-pod-readiness-gates"
        ),
        priority=1,
    ),
)

DEPLOYMENT_COLUMNS = (
    NAME,
    Column("Ready", "Ready pods out of those wanted."),
    Column("Up-to-date", "Pods of the newest template."),
    Column("Available", "Pods ready for long enough."),
    AGE,
    Column("Containers", "Names of the containers of the pod template.", priority=1),
    Column("Images", "Images of the containers of the pod template.", priority=1),
    Column("Selector", "Labels by which its pods are found.", priority=1),
)

REPLICASET_COLUMNS = (
    NAME,
    Column("Desired", "Pods wanted.", type="integer"),
    Column("Current", "Pods there are.", type="integer"),
    Column("Ready", "Pods that are ready.", type="integer"),
    AGE,
    Column("Containers", "Names of the containers of the pod template.", priority=1),
    Column("Images", "Images of the containers of the pod template.", priority=1),
    Column("Selector", "Labels by which its pods are found.", priority=1),
)

STATEFUL_SET_COLUMNS = (
    NAME,
    Column("Ready", "Ready pods out of those wanted."),
    AGE,
    Column("Containers", "Names of the containers of the pod template.", priority=1),
    Column("Images", "Images of the containers of the pod template.", priority=1),
)

EVENT_COLUMNS = (
    Column("Last Seen", "When it was last observed."),
    Column("Type", "Normal or Warning."),
    Column("Reason", "Why, in a word."),
    Column("Object", "What it is about."),
    Column("Subobject", "The part it is about.", priority=1),
    Column("Source", "Who reports it.", priority=1),
    Column("Message", "What happened."),
    Column("First Seen", "When it was first observed.", priority=1),
    Column("Count", "How often it was observed.", type="integer", priority=1),
    Column("Name", "Name of the event.", priority=1),
)

NAMESPACE_COLUMNS = (
    NAME,
    Column("Status", "Active or Terminating."),
    AGE,
)

LEASE_COLUMNS = (
    NAME,
    Column("Holder", "Who holds the lease."),
    AGE,
)

BUDGET_COLUMNS = (
    NAME,
    Column("Min Available", "Pods that must stay available."),
    Column("Max Unavailable", "Pods that may be unavailable."),
    Column("Allowed Disruptions", "Pods that may be evicted now.", type="integer"),
    AGE,
)

SERVICE_COLUMNS = (
    NAME,
    Column("Type", "How the service is exposed."),
    Column("Cluster-IP", "Address within the cluster."),
    Column("External-IP", "Addresses from outside."),
    Column("Port(s)", "Ports and protocols."),
    AGE,
    Column("Selector", "Labels by which its pods are found.", priority=1),
)

PRIORITY_CLASS_COLUMNS = (
    NAME,
    Column("Value", "The priority.", type="integer"),
    Column("Global-Default", "Whether pods without a class get it.", type="boolean"),
    AGE,
    Column("PreemptionPolicy", "Whether its pods preempt others."),
)

VOLUME_COLUMNS = (
    NAME,
    Column("Capacity", "Size."),
    Column("Access Modes", "How it may be mounted."),
    Column("Reclaim Policy", "What becomes of it when released."),
    Column("Status", "Phase."),
    Column("Claim", "The claim it is bound to."),
    Column("StorageClass", "Its class."),
    Column("VolumeAttributesClass", "Its attributes class."),
    Column("Reason", "Why it is in this phase."),
    AGE,
    Column("VolumeMode", "Filesystem or Block.", priority=1),
)

CLAIM_COLUMNS = (
    NAME,
    Column("Status", "Phase."),
    Column("Volume", "The volume it is bound to."),
    Column("Capacity", "Size."),
    Column("Access Modes", "How it may be mounted."),
    Column("StorageClass", "Its class."),
    Column("VolumeAttributesClass", "Its attributes class."),
    AGE,
    Column("VolumeMode", "Filesystem or Block.", priority=1),
)

STORAGE_CLASS_COLUMNS = (
    NAME,
    Column("Provisioner", "Who makes its volumes."),
    Column("ReclaimPolicy", "What becomes of released volumes."),
    Column("VolumeBindingMode", "When volumes are bound."),
    Column("AllowVolumeExpansion", "Whether volumes may grow."),
    AGE,
)

CONFIG_MAP_COLUMNS = (
    NAME,
    Column("Data", "Number of entries."),
    AGE,
)

SECRET_COLUMNS = (
    NAME,
    Column("Type", "What it is for."),
    Column("Data", "Number of entries.", type="integer"),
    AGE,
)

SERVICE_ACCOUNT_COLUMNS = (
    NAME,
    Column("Secrets", "Number of secrets."),
    AGE,
)

CSI_NODE_COLUMNS = (
    NAME,
    Column("Drivers", "Number of drivers.", type="integer"),
    AGE,
)

CREATED_COLUMNS = (
    NAME,
    Column("Created At", "When it was created.", type="date"),
)

CUSTOM_COLUMNS = (
    NAME,
    AGE,
)
