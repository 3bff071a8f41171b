"""Engines and quotas for the tests of CapacityScheduling."""

from dataclasses import replace

from kube.custom import ElasticQuota, ElasticQuotaSpec
from scheduler.engine import Engine, EngineSettings
from scheduler.events import NodeSeen, ObjectSeen
from scheduler.framework.interface import PluginArgs
from scheduler.plugins.capacity_scheduling import CapacityScheduling
from tests.builders import make_meta
from tests.unit.scheduler.worlds import make_facts, make_pending, make_profile


def make_quota(namespace, *, name="quota", min=None, max=None, **meta):  # noqa: A002 - as the field is called
    spec = ElasticQuotaSpec(min=min, max=max)
    return ElasticQuota(metadata=make_meta(name, namespace=namespace, **meta), spec=spec)


def quota_profile():
    """kube-scheduler's plugins, with CapacityScheduling in place of DefaultPreemption."""
    plugin, profile = CapacityScheduling(PluginArgs()), make_profile()
    return replace(
        profile,
        pre_filter=(*profile.pre_filter, plugin),
        post_filter=(plugin,),
        reserve=(*profile.reserve, plugin),
    )


def make_quota_engine(*things):
    """Make an engine that knows nodes (by name or facts) and objects."""
    engine = Engine({"ai-scheduler": quota_profile()}, settings=EngineSettings())
    for each in things:
        if isinstance(each, ElasticQuota):
            engine.handle(ObjectSeen(each), now_s=0.0)
        else:
            facts = make_facts(each) if isinstance(each, str) else each
            engine.handle(NodeSeen(facts), now_s=0.0)
    return engine


def pod_of(namespace, name, *, cpu_milli=1000, memory_bytes=0, node="", **more):
    pod = make_pending(
        name,
        namespace=namespace,
        uid=f"uid-of-{namespace}/{name}",
        cpu_milli=cpu_milli,
        memory_bytes=memory_bytes,
        **more,
    )
    return replace(pod, node_name=node, start_time_s=1.0 if node else 0.0)
