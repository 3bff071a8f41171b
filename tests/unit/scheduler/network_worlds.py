"""Applications, and what it costs to talk between regions and zones, for tests."""

import json

from kube.custom import (
    AppGroup,
    AppGroupDependency,
    AppGroupSpec,
    AppGroupWorkload,
    AppGroupWorkloadRef,
    NetworkCost,
    NetworkOrigin,
    NetworkTopology,
    NetworkTopologyInfo,
    NetworkTopologySpec,
    NetworkWeights,
)
from scheduler.framework.configuration import load_configuration
from scheduler.framework.profile import make_profiles
from scheduler.plugins.defaults import built_in_registry
from scheduler.plugins.network.app_groups import APP_GROUP_LABEL, WORKLOAD_LABEL
from scheduler.plugins.network.costs import REGION, ZONE
from tests.builders import make_meta
from tests.unit.scheduler.worlds import make_facts, make_pending


def ref(selector):
    return AppGroupWorkloadRef(name=selector, kind="Deployment", selector=selector)


def make_spec(algorithm="KahnSort", **needs):
    """Make an application; *needs* gives whom each workload depends on, with the most it may cost.

    A dependency is a selector, or a pair of one and a cost.
    """
    workloads = []
    for selector, needed in needs.items():
        pairs = [each if isinstance(each, tuple) else (each, None) for each in needed]
        dependencies = [
            AppGroupDependency(workload=ref(other), max_network_cost=most) for other, most in pairs
        ]
        workloads.append(AppGroupWorkload(workload=ref(selector), dependencies=dependencies))
    return AppGroupSpec(
        num_members=max(1, len(workloads)),
        topology_sorting_algorithm=algorithm,
        workloads=workloads,
    )


def make_group(name="shop", *, namespace="default", created_at=None, algorithm="KahnSort", **needs):
    meta = make_meta(name, namespace=namespace)
    if created_at is not None:
        meta = make_meta(name, namespace=namespace, creation_timestamp=created_at)
    return AppGroup(metadata=meta, spec=make_spec(algorithm, **needs))


def make_topology(*, zones=(), regions=(), name="nt-default", weights="UserDefined", **meta):
    """Make costs from triples of origin, destination and cost."""
    infos = [
        NetworkTopologyInfo(
            topology_key=key,
            origin_list=[
                NetworkOrigin(
                    origin=origin,
                    cost_list=[NetworkCost(destination=destination, network_cost=cost)],
                )
                for origin, destination, cost in costs
            ],
        )
        for key, costs in ((REGION, regions), (ZONE, zones))
    ]
    return NetworkTopology(
        metadata=make_meta(name, **{"namespace": "default", **meta}),
        spec=NetworkTopologySpec(weights=[NetworkWeights(name=weights, topology_list=infos)]),
    )


def node_in(name, region=None, zone=None):
    labels = {REGION: region, ZONE: zone}
    return make_facts(name, labels={key: value for key, value in labels.items() if value})


def part_of(workload, name=None, *, group="shop", **more):
    """Make a pod of a workload."""
    labels = {APP_GROUP_LABEL: group, WORKLOAD_LABEL: workload}
    return make_pending(name or f"{workload}-1", labels=labels, **more)


def load_profiles(folder, *, plugins, args):
    """Read a profile from a file, as the scheduler does; *args* by plugin."""
    profile = {
        "schedulerName": "ai-scheduler",
        "plugins": plugins,
        "pluginConfig": [{"name": name, "args": each} for name, each in args.items()],
    }
    document = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "profiles": [profile],
    }
    path = folder / "profile.yaml"
    path.write_text(json.dumps(document))
    registry = built_in_registry()
    return make_profiles(load_configuration(path, registry=registry), registry=registry)
