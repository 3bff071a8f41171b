"""What must be true of placements, judged from outside: by the wire objects alone.

Each rule takes nodes by name and the pods with their nodes, in the order in which they were bound,
and returns what is broken; the empty string if nothing is. The engine has no part in it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from kube.quantity import parse_milli, parse_whole
from scheduler.model import GPU_COUNT, GPU_INDEX, GPU_MILLI
from tests.bench.templates import HOSTNAME, ZONE, Json

Placed = Sequence[tuple[Json, str]]
Nodes = Mapping[str, Json]
Rule = Callable[..., str]


class BrokenRuleError(Exception):
    """The placements break a rule, so there is no figure to print."""


def capacity(nodes: Nodes, *, placed: Placed) -> str:
    """No node has more than it can hold."""
    cpu: Counter[str] = Counter()
    memory: Counter[str] = Counter()
    n_pods: Counter[str] = Counter()
    for pod, node in placed:
        n_pods[node] += 1
        for container in pod["spec"]["containers"]:
            requests = container["resources"]["requests"]
            cpu[node] += parse_milli(requests["cpu"])
            memory[node] += parse_whole(requests["memory"])
    for name, count in n_pods.items():
        amounts = nodes[name]["status"]["allocatable"]
        if (
            cpu[name] > parse_milli(amounts["cpu"])
            or memory[name] > parse_whole(amounts["memory"])
            or count > int(amounts["pods"])
        ):
            return f"node {name} is over-committed"
    return ""


def zones_of_node_affinity(nodes: Nodes, *, placed: Placed) -> str:
    """Every pod is in zone1 or zone2."""
    zones = {zone for _, zone in _domains(nodes, placed=placed, key=ZONE)}
    return "" if zones <= {"zone1", "zone2"} else f"pods outside their zones: {sorted(zones)}"


def zone_skew(nodes: Nodes, *, placed: Placed) -> str:
    """At no time has a zone over five blue pods more than the one with the fewest."""
    counts = dict.fromkeys({node["metadata"]["labels"][ZONE] for node in nodes.values()}, 0)
    for pod, zone in _domains(nodes, placed=placed, key=ZONE):
        if _is(pod, color="blue"):
            counts[zone] += 1
            if counts[zone] - min(counts.values()) > 5:
                return f"skew over 5: {counts}"
    return ""


def final_zone_skew(nodes: Nodes, *, placed: Placed) -> str:
    """In the end no zone has over five blue pods more than the one with the fewest.

    For bindings that are written by several threads: they are seen in another order than decided.
    """
    counts = dict.fromkeys({node["metadata"]["labels"][ZONE] for node in nodes.values()}, 0)
    for pod, zone in _domains(nodes, placed=placed, key=ZONE):
        counts[zone] += _is(pod, color="blue")
    return "" if max(counts.values()) - min(counts.values()) <= 5 else f"skew over 5: {counts}"


def one_zone(nodes: Nodes, *, placed: Placed) -> str:
    """All blue pods are in the zone of the first."""
    domains = _domains(nodes, placed=placed, key=ZONE)
    zones = {zone for pod, zone in domains if _is(pod, color="blue")}
    return "" if len(zones) <= 1 else f"blue pods in several zones: {sorted(zones)}"


def one_green_pod_a_node(nodes: Nodes, *, placed: Placed) -> str:
    """No two green pods share a node."""
    domains = _domains(nodes, placed=placed, key=HOSTNAME)
    crowded = Counter(host for pod, host in domains if _is(pod, color="green"))
    most = crowded.most_common(1)
    return "" if not most or most[0][1] == 1 else f"{most[0][1]} green pods on {most[0][0]}"


def cards(nodes: Nodes, *, placed: Placed) -> str:
    """Who asks for a share of a card has one, on a node that has it, and no card is over-shared."""
    shared: Counter[tuple[str, str]] = Counter()
    for pod, node in placed:
        said = pod["metadata"]["annotations"]
        if GPU_MILLI not in said:
            continue
        index = said.get(GPU_INDEX, "")
        if not index or int(index) >= int(nodes[node]["status"]["allocatable"].get(GPU_COUNT, 0)):
            return f"pod {pod['metadata']['name']} has no card of node {node}"
        shared[node, index] += int(said[GPU_MILLI])
    over = [card for card, milli in shared.items() if milli > 1_000]
    return f"card {over[0][1]} of node {over[0][0]} is over-shared" if over else ""


def _domains(nodes: Nodes, *, placed: Placed, key: str) -> Iterable[tuple[Json, str]]:
    return ((pod, nodes[node]["metadata"]["labels"][key]) for pod, node in placed)


def _is(pod: Json, *, color: str) -> bool:
    return pod["metadata"]["labels"].get("color") == color
