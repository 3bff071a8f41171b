"""Small scenarios, sites of them, and what is in a store."""

import msgspec

from kube.edge.settings import Duration, Interval
from scheduler.simulator.experiments.observer import Observer
from scheduler.simulator.experiments.policies import policy_of
from scheduler.simulator.experiments.run import Run
from scheduler.simulator.experiments.scenario import Job, NodeGroup, Scenario, Service
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.resources import BUILT_IN

HOUR_S = 3600.0


def make_group(name="good", *, count=3, **fields):
    defaults = {"cpu": "4", "memory": "8Gi"}
    return NodeGroup(name=name, count=count, **{**defaults, **fields})


def make_service(name="web", **fields):
    defaults = {"kinds": 2, "replicas": 2.0}
    return Service(name=name, **{**defaults, **fields})


def make_job(name="batch", **fields):
    defaults = {"kinds": 2, "per_hour": 60.0, "run_s": 120.0}
    return Job(name=name, **{**defaults, **fields})


def make_scenario(*groups, warm_up_s=0.0, measured_s=HOUR_S, **fields):
    """A scenario of three quiet nodes, unless told otherwise, and no work."""
    defaults = {"name": "small", "nodes": groups or (make_group(),)}
    return Scenario(
        warm_up=Duration(warm_up_s), measured=Interval(measured_s), **{**defaults, **fields}
    )


def make_run(site, *, policy="kube-default"):
    """A scheduler, and a collector that has seen nothing yet."""
    observer = Observer(site.scenario.observation, start_s=site.now_s)
    return Run(site, observer=observer, policy=policy_of(policy))


def written(site):
    """Every object of a site's store, byte by byte, by resource."""
    return {
        resource.qualified_name: msgspec.json.encode(site.store.list(resource))
        for resource in BUILT_IN
        if "list" in resource.verbs and site.store.list(resource)
    }


def make_site(*groups, seed=1, **fields):
    """A site at its beginning."""
    return Site(make_scenario(*groups, **fields), seed=seed)
