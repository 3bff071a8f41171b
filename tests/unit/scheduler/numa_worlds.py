"""Reports of NUMA zones and pods that zones matter to; what a test leaves out is sane."""

from collections.abc import Mapping, Sequence

from kube.custom import NodeResourceTopology, TopologyAttribute, Zone, ZoneCost, ZoneResource
from kube.qos import Qos
from kube.quantity import CPU, MEMORY
from scheduler.engine import Engine, EngineSettings
from scheduler.events import NodeSeen, ObjectSeen
from scheduler.framework.configuration import read_configuration
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PreFilterPlugin
from scheduler.framework.profile import make_profiles
from scheduler.model import ContainerFacts, PodFacts
from scheduler.plugins.defaults import built_in_registry
from scheduler.plugins.numa.arguments import NodeResourceTopologyMatchArgs, NumaScoringStrategy
from scheduler.plugins.numa.match import NodeResourceTopologyMatch
from tests.builders import make_meta
from tests.unit.scheduler.worlds import make_pending, make_snapshot

GPU = "example.com/gpu"


def make_topology(
    name: str = "n1",
    *,
    zones: Sequence[Mapping[str, str | int]] = ({CPU: 4, MEMORY: "8Gi"}, {CPU: 4, MEMORY: "8Gi"}),
    policy: str = "single-numa-node",
    scope: str = "container",
    costs: Sequence[Sequence[int]] = (),
    fingerprint: str = "",
    version: int = 1,
    **attributes: str,
) -> NodeResourceTopology:
    """Make a report; *zones* say what is available in ``node-0``, ``node-1`` and so on."""
    said = {
        "topologyManagerPolicy": policy,
        "topologyManagerScope": scope,
        "nodeTopologyPodsFingerprint": fingerprint,
        **attributes,
    }
    return NodeResourceTopology(
        metadata=make_meta(name, resource_version=str(version)),
        attributes=[TopologyAttribute(name=n, value=v) for n, v in said.items() if v],
        zones=[
            Zone(
                name=f"node-{number}",
                type="Node",
                costs=[
                    ZoneCost(name=f"node-{other}", value=value)
                    for other, value in enumerate(costs[number] if costs else ())
                ],
                resources=[ZoneResource(name=n, available=amount) for n, amount in zone.items()],
            )
            for number, zone in enumerate(zones)
        ],
    )


def make_aligned(
    name: str = "web-1",
    *containers: Mapping[str, int],
    init: Sequence[Mapping[str, int]] = (),
    sidecars: Sequence[Mapping[str, int]] = (),
    qos: Qos = Qos.GUARANTEED,
    **more: object,
) -> PodFacts:
    """Make a pod of containers that ask for *containers*; sidecars start after *init*."""
    started = [(each, True) for each in init]
    started += [(each, False) for each in (*sidecars, *containers)]
    held = [each for each, is_brief in started if not is_brief]
    names = {name for each, _ in started for name in each}
    peak = {n: max((each.get(n, 0) for each in init), default=0) for n in names}
    requests = {n: max(peak[n], sum(each.get(n, 0) for each in held)) for n in names}
    return make_pending(
        name,
        qos=qos,
        containers=tuple(ContainerFacts(tuple(e.items()), is_brief) for e, is_brief in started),
        **{"requests": requests, "cpu_milli": 0, "memory_bytes": 0, **more},
    )


def plugin_for(
    strategy: str = "LeastAllocated", *, period_s: int | None = None, **args: object
) -> NodeResourceTopologyMatch:
    """Make a plugin; without *period_s* the latest report holds, whatever it does not know of."""
    scoring = args.pop("scoring_strategy", NumaScoringStrategy(type=strategy))
    return NodeResourceTopologyMatch(
        NodeResourceTopologyMatchArgs(
            scoring_strategy=scoring, cache_resync_period_seconds=period_s, **args
        )
    )


def cluster(*nodes, topologies, pods=()):
    """Make a snapshot with reports."""
    snapshot = make_snapshot(*nodes, pods=pods)
    for each in topologies:
        snapshot.objects.put(each)
    return snapshot


def refusals(plugin, pod, snapshot):
    """Say by node why it is refused."""
    state = CycleState()
    assert isinstance(plugin, PreFilterPlugin)
    if plugin.pre_filter(state, pod=pod, snapshot=snapshot).status.is_skip:
        return {}
    found = plugin.filter(state, pod=pod, snapshot=snapshot)
    if found is None:
        return {}
    return {
        name: reason
        for reason, nodes in found.reasons
        for name, row in snapshot.rows.items()
        if nodes[row]
    }


def scores(plugin, pod, snapshot):
    """Rate nodes, by name."""
    rated = plugin.score(CycleState(), pod=pod, snapshot=snapshot)
    return dict(zip(snapshot.names, rated.tolist(), strict=True))


def make_numa_engine(*things, **args):
    """Make an engine whose profile has the plugin, with *args* as in a file, and *things*."""
    name = NodeResourceTopologyMatch.name
    registry = built_in_registry()
    configuration = read_configuration(
        {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "profiles": [
                {
                    "schedulerName": "ai-scheduler",
                    "plugins": {"multiPoint": {"enabled": [{"name": name, "weight": 2}]}},
                    "pluginConfig": [{"name": name, "args": args}],
                }
            ],
        },
        registry=registry,
    )
    engine = Engine(make_profiles(configuration, registry=registry), settings=EngineSettings())
    for each in things:
        is_report = isinstance(each, NodeResourceTopology)
        engine.handle(ObjectSeen(each) if is_report else NodeSeen(each), now_s=0.0)
    return engine
