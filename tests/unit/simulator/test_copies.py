"""A copy of a cluster lives on as the original does."""

import copy

from scheduler.simulator.hardware import NodeTraits, draw_nodes
from scheduler.simulator.natures import Nature
from scheduler.simulator.resources import DEPLOYMENTS, EVENTS, LEASES, NODES, PODS
from tests.simulator_world import Simulation, container_manifest, deployment_manifest

HOUR_S = 3600.0
RESOURCES = (DEPLOYMENTS, PODS, NODES, LEASES, EVENTS)


class Natures:
    """True usage that grows, crashes and swings."""

    def profile(self, *, pod, workload, container, cpu_request_milli, memory_request_bytes):
        nature = Nature(cpu_ratio=1.5, memory_growth_ratio_per_h=2.0, crash_per_hour=2.0)
        return nature.traits(workload, seed=1).profile(
            cpu_request_milli=cpu_request_milli, memory_request_bytes=memory_request_bytes
        )


def eventful_cluster():
    simulation = Simulation(nodes=0, step_s=10.0, usage=Natures())
    for spec in draw_nodes(5, seed=2):
        simulation.cluster.add_node(spec)
    resources = {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}
    for index in range(4):
        deployment = deployment_manifest(f"web-{index}", replicas=5)
        template = deployment["spec"]["template"]
        template["metadata"].pop("annotations")
        template["spec"]["containers"] = [container_manifest(resources=resources)]
        simulation.create(DEPLOYMENTS, deployment)
    return simulation


def watch(simulation):
    changes = []
    simulation.store.on_change(lambda change: changes.append((change.type, change.new)))
    return changes


def state_of(simulation):
    sample = simulation.cluster.world.sample()
    arrays = {name: getattr(sample, name) for name in sample.__slots__}
    return {
        "version": simulation.store.version,
        "objects": [simulation.store.list(resource) for resource in RESOURCES],
        "sample": {
            k: v if isinstance(v, (tuple, float)) else v.tolist() for k, v in arrays.items()
        },
        "metrics": simulation.cluster.metrics.pod_metrics(),
        "lacking": simulation.cluster.world.lacking_core_s,
    }


def test_a_copy_goes_on_exactly_as_the_original_does():
    original = eventful_cluster()
    original.run(HOUR_S)

    twin = copy.deepcopy(original)
    changes, changes_of_twin = watch(original), watch(twin)
    original.run(HOUR_S)
    twin.run(HOUR_S)

    assert len(changes) > 500
    assert changes_of_twin == changes
    assert state_of(twin) == state_of(original)


def test_a_copy_is_not_touched_by_what_the_original_goes_through():
    original = eventful_cluster()
    original.run(600)
    twin = copy.deepcopy(original)
    before = state_of(twin)

    original.cluster.set_node_traits("n1", NodeTraits(speed=0.5))
    original.run(HOUR_S)
    original.cluster.refresh_usage()

    assert state_of(twin) == before
    assert original.store.version > twin.store.version
