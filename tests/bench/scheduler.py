"""Speed of the engine alone, on the workloads of scheduler_perf.

``scripts/bench.sh scheduler [--only WORD …]``; a word is part of a case's name, or ``gang``,
``memory``, ``growth``. ``--profile all`` runs every plugin instead (``config/profiles/all.yaml``),
in a cluster that gives each something to do (``everything.py``), and tells where the time went.

Names, sizes and kube-scheduler's floors are those of ``test/integration/scheduler_perf`` in
kubernetes/kubernetes v1.36 (``performance-config.yaml``). A floor there is the threshold of the CI:
API server and etcd in the process, 16 threads, nodes sampled. Here the initial pods are scheduled,
too, but only the measured ones are timed; every node is looked at and scored for every pod.

A figure is printed only if all pods were scheduled and the case's rules hold, judged from outside
(``rules.py``). Pods a second are of CPU time, which other programs on the machine disturb least;
the wall clock's figure stands beside. Each case has a process of its own.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tests.bench import rules, templates
from tests.bench.engine_world import NO_FIGURE, Cost, EngineWorld
from tests.bench.every_plugin import show_every_plugin
from tests.bench.machine import describe
from tests.bench.processes import in_own_process, rss_bytes
from tests.bench.rules import BrokenRuleError, Rule
from tests.bench.templates import HOSTNAME, SCHED_NAMESPACES, ZONE, Json, Template

GROWTH_NODES = (500, 1_000, 2_000, 5_000)
N_GANG = 500
MAX_GANG_MS = 300
MEMORY_PODS = 50_000
MEMORY_DECIDED_PODS = 10_000
MAX_MEMORY_BYTES = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One workload of scheduler_perf."""

    name: str
    n_nodes: int
    n_initial: int
    n_measured: int
    floor: int = 0
    """Pods a second that this project wants."""
    upstream_floor: int | None = None
    """Pods a second below which kube-scheduler's own CI fails."""
    initial: Template = templates.pod
    measured: Template = templates.pod
    zones: tuple[str, ...] = ()
    has_hostnames: bool = False
    initial_namespaces: tuple[str, ...] = ("default",)
    measured_namespace: str = "default"
    is_team: bool = False
    """Whether the namespaces carry the team's label."""
    is_gang: bool = False
    """Whether no measured pod may be bound before the last has come."""
    rules: tuple[Rule, ...] = ()

    def nodes(self) -> list[Json]:
        return [templates.node(f"node-{i}", labels=self._labels(i)) for i in range(self.n_nodes)]

    def namespaces(self) -> list[Json]:
        names = {*self.initial_namespaces, self.measured_namespace}
        labels = templates.TEAM if self.is_team else {}
        return [templates.namespace(name, labels=labels) for name in sorted(names)]

    def initial_pods(self) -> list[Json]:
        spaces = self.initial_namespaces
        return [
            self.initial(f"init-{i}", namespace=spaces[i % len(spaces)])
            for i in range(self.n_initial)
        ]

    def measured_pods(self) -> list[Json]:
        namespace = self.measured_namespace
        return [self.measured(f"pod-{i}", namespace=namespace) for i in range(self.n_measured)]

    def resized(self, n_nodes: int) -> "Case":
        """Return the same with another number of nodes, and pods in proportion."""
        ratio = n_nodes / self.n_nodes
        n_initial, n_measured = round(self.n_initial * ratio), round(self.n_measured * ratio)
        return replace(self, n_nodes=n_nodes, n_initial=n_initial, n_measured=n_measured)

    def _labels(self, index: int) -> dict[str, str]:
        labels = {ZONE: self.zones[index % len(self.zones)]} if self.zones else {}
        return labels | ({HOSTNAME: f"node-{index}"} if self.has_hostnames else {})


CASES = (
    Case(
        name="SchedulingBasic 5000Nodes_10000Pods",
        n_nodes=5_000,
        n_initial=1_000,
        n_measured=10_000,
        floor=3_000,
        upstream_floor=270,
    ),
    Case(
        name="SchedulingNodeAffinity 5000Nodes_10000Pods",
        n_nodes=5_000,
        n_initial=5_000,
        n_measured=10_000,
        initial=templates.node_affinity_pod,
        measured=templates.node_affinity_pod,
        zones=("zone1",),
        rules=(rules.zones_of_node_affinity,),
        floor=2_500,
        upstream_floor=220,
    ),
    Case(
        name="TopologySpreading 5000Nodes_5000Pods",
        n_nodes=5_000,
        n_initial=5_000,
        n_measured=5_000,
        measured=templates.zone_spread_pod,
        zones=("moon-1", "moon-2", "moon-3"),
        rules=(rules.zone_skew,),
        floor=1_500,
        upstream_floor=85,
    ),
    Case(
        name="SchedulingPodAntiAffinity 5000Nodes_2000Pods",
        n_nodes=5_000,
        n_initial=1_000,
        n_measured=2_000,
        initial=templates.hostname_anti_affinity_pod,
        measured=templates.hostname_anti_affinity_pod,
        has_hostnames=True,
        initial_namespaces=SCHED_NAMESPACES[:1],
        measured_namespace=SCHED_NAMESPACES[1],
        rules=(rules.one_green_pod_a_node,),
        floor=1_000,
        upstream_floor=60,
    ),
    Case(
        name="SchedulingPodAffinity 5000Nodes_5000Pods",
        n_nodes=5_000,
        n_initial=5_000,
        n_measured=5_000,
        initial=templates.zone_affinity_pod,
        measured=templates.zone_affinity_pod,
        zones=("zone1",),
        initial_namespaces=SCHED_NAMESPACES[:1],
        measured_namespace=SCHED_NAMESPACES[1],
        rules=(rules.one_zone,),
        floor=1_000,
        upstream_floor=35,
    ),
    Case(
        # Upstream's has 6,000 nodes under this name: 100 namespaces of 40 pods, and 2,000 more.
        name="SchedulingRequiredPodAntiAffinityWithNSSelector 5000Nodes_2000Pods",
        n_nodes=6_000,
        n_initial=4_000,
        n_measured=2_000,
        initial=templates.namespace_selector_pod,
        measured=templates.namespace_selector_pod,
        has_hostnames=True,
        initial_namespaces=tuple(f"init-ns-{i}" for i in range(100)),
        measured_namespace="measure-ns-0",
        is_team=True,
        rules=(rules.one_green_pod_a_node,),
        floor=500,
        upstream_floor=24,
    ),
    Case(
        name="PreemptionBasic 1000Nodes",
        n_nodes=1_000,
        n_initial=4_000,
        n_measured=1_000,
        initial=templates.low_priority_pod,
        measured=templates.high_priority_pod,
        floor=500,
    ),
)
GANG = Case(
    name=f"a gang of {N_GANG} on 5,000 nodes",
    n_nodes=5_000,
    n_initial=1_000,
    n_measured=N_GANG,
    measured=partial(templates.gang_pod, n_members=N_GANG),
    is_gang=True,
)


def run(case: Case) -> Cost:
    """Run a case.

    Raises:
        NotScheduledError: Some of its pods were not scheduled.
        BrokenRuleError: They were, and a rule is broken.
    """
    world = EngineWorld(case.nodes(), namespaces=case.namespaces())
    world.schedule(case.initial_pods())
    pods = case.measured_pods()
    if case.is_gang:
        if not world.try_in_vain(pods[1:]):
            raise BrokenRuleError("members of a gang were bound before it was complete")
        pods = pods[:1]
    cost = world.schedule(pods)
    for rule in (rules.capacity, *case.rules):
        broken = rule(world.nodes, placed=world.placed)
        if broken:
            raise BrokenRuleError(broken)
    return cost


def memory_bytes() -> tuple[int, int]:
    """Return what the process takes before and after it learns of 5,000 nodes and 50,000 pods.

    10,000 of the pods are decided on here, so that as many decisions are kept as the program keeps.
    """
    before = rss_bytes()
    case = CASES[0]
    world = EngineWorld(case.nodes(), namespaces=case.namespaces())
    for i in range(MEMORY_PODS - MEMORY_DECIDED_PODS):
        world.see_running(templates.pod(f"old-{i}"), node=f"node-{i % case.n_nodes}")
    world.schedule([templates.pod(f"new-{i}") for i in range(MEMORY_DECIDED_PODS)])
    return before, rss_bytes()


def show_case(case: Case) -> None:
    upstream = "-" if case.upstream_floor is None else f"{case.upstream_floor:,}"
    floors = f"floor {case.floor:,}, kube-scheduler's {upstream}"
    try:
        cost = in_own_process(partial(run, case))
    except NO_FIGURE as error:
        print(f"{case.name}: no figure ({floors}): {error}", flush=True)
        return
    verdict = "met" if cost.pods_per_cpu_s >= case.floor else "MISSED"
    print(
        f"{case.name}: {cost.pods_per_cpu_s:,.0f} pods/s of CPU, {cost.pods_per_wall_s:,.0f} of "
        f"the wall, {cost.cpu_us_per_pod:,.0f} us of CPU a pod ({floors}: {verdict})",
        flush=True,
    )


def show_gang() -> None:
    try:
        cost = in_own_process(partial(run, GANG))
    except NO_FIGURE as error:
        print(f"{GANG.name}: no figure (at most {MAX_GANG_MS} ms): {error}", flush=True)
        return
    verdict = "met" if cost.cpu_s * 1e3 <= MAX_GANG_MS else "MISSED"
    print(
        f"{GANG.name}: {cost.cpu_s * 1e3:,.0f} ms of CPU, {cost.wall_s * 1e3:,.0f} of the wall "
        f"(at most {MAX_GANG_MS} ms: {verdict})",
        flush=True,
    )


def show_memory() -> None:
    before, after = in_own_process(memory_bytes)
    verdict = "met" if after <= MAX_MEMORY_BYTES else "MISSED"
    print(
        f"memory at 5,000 nodes and {MEMORY_PODS:,} pods: {after / 2**20:,.0f} MiB, of which "
        f"{before / 2**20:,.0f} before the first node (at most 1,024: {verdict})",
        flush=True,
    )


def show_growth(case: Case) -> None:
    """Print the cost of a pod at several sizes, and how it stands to linear growth."""
    words: list[str] = []
    first_us = 0.0
    for n_nodes in GROWTH_NODES:
        try:
            cost = in_own_process(partial(run, case.resized(n_nodes)))
        except NO_FIGURE as error:
            words.append(f"{n_nodes:,}: no figure: {error}")
            break
        first_us = first_us or cost.cpu_us_per_pod
        ratio = cost.cpu_us_per_pod / first_us / (n_nodes / GROWTH_NODES[0])
        words.append(f"{n_nodes:,}: {cost.cpu_us_per_pod:,.0f} us ({ratio:.2f} of linear)")
    print(f"growth, {case.name.split()[0]}, CPU a pod by nodes: {'; '.join(words)}", flush=True)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench.sh scheduler")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="of a case's name")
    parser.add_argument("--profile", choices=("default", "all"), default="default")
    options = parser.parse_args(arguments)
    words = options.only

    def wanted(name: str) -> bool:
        return not words or any(word.lower() in name.lower() for word in words)

    print(f"# {describe()}")
    if options.profile == "all":
        show_every_plugin(wanted)
    else:
        show_default(wanted)


def show_default(wanted: Callable[[str], bool]) -> None:
    """Show what kube-scheduler's default plugins cost."""
    for case in CASES:
        if wanted(case.name):
            show_case(case)
    if wanted("gang"):
        show_gang()
    if wanted("memory"):
        show_memory()
    if wanted("growth"):
        for case in CASES:
            show_growth(case)


if __name__ == "__main__":
    main(sys.argv[1:])
