"""Machines with NUMA zones under experiment: what a policy that knows of zones is worth."""

from pathlib import Path

import msgspec

from scheduler.simulator.apiserver.custom import resources_of
from scheduler.simulator.experiments.run import run_seed
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.hardware import Numa
from scheduler.simulator.kubelet.agents import DEFINITION
from scheduler.simulator.natures import Nature
from scheduler.simulator.parameters import NodePhysics, Physics
from scheduler.simulator.resources import CUSTOM_RESOURCE_DEFINITIONS, PODS
from tests.unit.simulator.experiments.worlds import (
    make_group,
    make_job,
    make_run,
    make_scenario,
    make_service,
    written,
)

CONFIG = Path(__file__).parents[4] / "config"
PROFILE = str(CONFIG / "profiles" / "numa.yaml")
ALIGNED = {"cpu_limit_ratio": 1.0, "memory_limit_ratio": 1.0, "nature": Nature(crash_per_hour=0.0)}


def make_machine():
    """Two zones of four cores, of which two pods of three leave one each; then come pods of two."""
    numa = Numa(zones=2, policy="single-numa-node")
    return make_scenario(
        make_group(count=1, cpu="8", memory="16Gi", numa=numa),
        physics=Physics(nodes=NodePhysics(reserved_cpu_milli=0)),
        manifests=(str(CONFIG / "crds" / f"{DEFINITION}.yaml"),),
        services=(make_service("three", kinds=1, cpu_request_milli=3000.0, **ALIGNED),),
        jobs=(make_job("two", cpu_request_milli=2000.0, **ALIGNED),),
        measured_s=1200.0,
    )


def test_pods_are_turned_away_by_the_kubelet_unless_a_policy_knows_of_zones():
    without, knowing = run_seed(make_machine(), seed=1, policies=["kube-default", PROFILE])

    n_services, n_jobs = 2, without.n_placements - 2
    assert n_jobs > 10
    assert without.failed_by_cause == {"rejected": n_jobs}
    assert (without.cost_terms["failures"], knowing.cost_terms["failures"]) == (n_jobs, 0.0)
    assert without.n_never_bound == 0
    assert knowing.failed_by_cause == {}
    assert (knowing.n_placements, knowing.n_never_bound) == (n_services, n_jobs)


def test_guaranteed_pods_of_whole_cores_need_no_more_than_limits_of_what_they_request():
    site = Site(make_machine(), seed=1)
    make_run(site).advance(site.start_s + 600.0)

    pods = site.store.list(PODS)
    assert {pod["status"]["qosClass"] for pod in pods} == {"Guaranteed"}
    assert "TopologyAffinityError" in {pod["status"].get("reason") for pod in pods}


def test_a_copy_of_machines_with_zones_goes_on_as_the_original_does():
    def topologies(site):
        definition = site.store.get(CUSTOM_RESOURCE_DEFINITIONS, None, DEFINITION)
        [resource] = resources_of(definition)
        return msgspec.json.encode(site.store.list(resource))

    scenario = msgspec.structs.replace(make_machine(), services=())
    original = Site(scenario, seed=2)
    make_run(original).advance(original.start_s + 300.0)
    copied = original.copy()
    for site in (original, copied):
        make_run(site).advance(site.start_s + 900.0)

    assert b'"available":"2"' in topologies(original)
    assert topologies(copied) == topologies(original)
    assert written(copied) == written(original)
