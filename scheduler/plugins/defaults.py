"""The built-in plugins, in the order in which kube-scheduler runs them."""

from scheduler.framework.registry import Registry
from scheduler.plugins.node_affinity import NodeAffinity
from scheduler.plugins.node_name import NodeName
from scheduler.plugins.node_ports import NodePorts
from scheduler.plugins.node_resources import NodeResourcesBalancedAllocation, NodeResourcesFit
from scheduler.plugins.prediction import NodePrediction
from scheduler.plugins.queue_order import PrioritySort, SchedulingGates
from scheduler.plugins.taints import NodeUnschedulable, TaintToleration


def built_in_registry() -> Registry:
    """List the built-in plugins; those with a weight run unless a profile says otherwise."""
    return Registry(
        [
            (SchedulingGates, 0),
            (PrioritySort, 0),
            (NodeUnschedulable, 0),
            (NodeName, 0),
            (TaintToleration, 3),
            (NodeAffinity, 2),
            (NodePorts, 0),
            (NodeResourcesFit, 1),
            (NodeResourcesBalancedAllocation, 1),
            (NodePrediction, None),
        ]
    )
