"""Which nodes a scenario has, under names that do not tell their group."""

from dataclasses import replace

from scheduler.simulator.chance import generator_of
from scheduler.simulator.experiments.scenario import NodeGroup, Scenario
from scheduler.simulator.hardware import NodeSpec, make_node


def layout(scenario: Scenario, *, seed: int) -> list[tuple[NodeSpec, NodeGroup]]:
    """Draw the nodes that a scenario describes, in the order in which they are switched on."""
    groups = [group for group in scenario.nodes for _ in range(group.count)]
    numbers = generator_of("node names", seed).permutation(len(groups)) + 1
    numbered = sorted(
        ((int(number), group) for number, group in zip(numbers, groups, strict=True)),
        key=lambda each: each[0],
    )
    return [
        (_spec(f"n{number}", group, scenario=scenario, seed=seed), group)
        for number, group in numbered
    ]


def _spec(name: str, group: NodeGroup, *, scenario: Scenario, seed: int) -> NodeSpec:
    cpu_milli, memory_bytes = group.cpu_milli, group.memory_bytes
    traits = group.nature.traits(name, seed=seed, cpu_milli=cpu_milli, memory_bytes=memory_bytes)
    spec = make_node(
        name,
        cpu_milli=cpu_milli,
        memory_bytes=memory_bytes,
        traits=traits,
        nodes=scenario.physics.nodes,
    )
    max_pods = spec.max_pods if group.max_pods is None else group.max_pods
    return replace(spec, max_pods=max_pods, numa=group.numa)
