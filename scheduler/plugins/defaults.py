"""The built-in plugins, in the order that kube-scheduler runs them in; the built-in profile."""

from scheduler.framework.configuration import (
    Enabled,
    KubeSchedulerConfiguration,
    Plugins,
    PluginSet,
    ProfileConfiguration,
)
from scheduler.framework.registry import Registry
from scheduler.plugins.balanced_allocation import NodeResourcesBalancedAllocation
from scheduler.plugins.capacity_scheduling import CapacityScheduling
from scheduler.plugins.coscheduling import Coscheduling
from scheduler.plugins.cross_node_preemption import CrossNodePreemption
from scheduler.plugins.default_binder import DefaultBinder
from scheduler.plugins.default_preemption import DefaultPreemption
from scheduler.plugins.dynamic_resources import DynamicResources
from scheduler.plugins.gpu.share import GpuShare
from scheduler.plugins.image_locality import ImageLocality
from scheduler.plugins.inter_pod_affinity import InterPodAffinity
from scheduler.plugins.learned.policy import LearnedPolicy
from scheduler.plugins.load.load_variation import LoadVariationRiskBalancing
from scheduler.plugins.load.low_risk import LowRiskOverCommitment
from scheduler.plugins.load.peaks import Peaks
from scheduler.plugins.load.target_load_packing import TargetLoadPacking
from scheduler.plugins.metadata.node_metadata import NodeMetadata
from scheduler.plugins.network.network_overhead import NetworkOverhead
from scheduler.plugins.network.network_traffic import NetworkTraffic
from scheduler.plugins.network.topological_sort import TopologicalSort
from scheduler.plugins.node_affinity import NodeAffinity
from scheduler.plugins.node_name import NodeName
from scheduler.plugins.node_ports import NodePorts
from scheduler.plugins.node_resources import NodeResourcesFit
from scheduler.plugins.node_resources_allocatable import NodeResourcesAllocatable
from scheduler.plugins.numa.match import NodeResourceTopologyMatch
from scheduler.plugins.one_pod_per_node import OnePodPerNode
from scheduler.plugins.pod_state import PodState
from scheduler.plugins.pod_topology_spread import PodTopologySpread
from scheduler.plugins.prediction import NodeLoad, NodePrediction
from scheduler.plugins.preemption_toleration import PreemptionToleration
from scheduler.plugins.qos_sort import QOSSort
from scheduler.plugins.queue_order import PrioritySort, SchedulingGates
from scheduler.plugins.syscalls.sy_sched import SySched
from scheduler.plugins.taints import NodeUnschedulable, TaintToleration
from scheduler.plugins.volumes.binding import VolumeBinding
from scheduler.plugins.volumes.limits import NodeVolumeLimits
from scheduler.plugins.volumes.restrictions import VolumeRestrictions
from scheduler.plugins.volumes.zone import VolumeZone

SCHEDULER_NAME = "ai-scheduler"
PREDICTION_WEIGHT = 6


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
            (VolumeRestrictions, 0),
            (NodeVolumeLimits, 0),
            (VolumeBinding, 0),
            (VolumeZone, 0),
            (PodTopologySpread, 2),
            (InterPodAffinity, 2),
            (DynamicResources, 0),
            (DefaultPreemption, 0),
            (NodeResourcesBalancedAllocation, 1),
            (ImageLocality, 1),
            (DefaultBinder, 0),
            (NodePrediction, None),
            (NodeLoad, None),
            (OnePodPerNode, None),
            (CapacityScheduling, None),
            (Coscheduling, None),
            (GpuShare, None),
            (LearnedPolicy, None),
            (NodeResourcesAllocatable, None),
            (NodeResourceTopologyMatch, None),
            (TargetLoadPacking, None),
            (LoadVariationRiskBalancing, None),
            (LowRiskOverCommitment, None),
            (Peaks, None),
            (CrossNodePreemption, None),
            (NetworkOverhead, None),
            (NetworkTraffic, None),
            (NodeMetadata, None),
            (PodState, None),
            (PreemptionToleration, None),
            (QOSSort, None),
            (SySched, None),
            (TopologicalSort, None),
        ]
    )


def built_in_configuration() -> KubeSchedulerConfiguration:
    """Return what ``config/profiles/ai.yaml`` says, for where there is no such file."""
    enabled = tuple(
        Enabled(name=plugin.name, weight=PREDICTION_WEIGHT) for plugin in (NodePrediction, NodeLoad)
    )
    profile = ProfileConfiguration(
        scheduler_name=SCHEDULER_NAME,
        plugins=Plugins(multi_point=PluginSet(enabled=enabled)),
    )
    return KubeSchedulerConfiguration(
        api_version="kubescheduler.config.k8s.io/v1",
        kind="KubeSchedulerConfiguration",
        profiles=(profile,),
    )
