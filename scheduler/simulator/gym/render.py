"""A cluster as text."""

from scheduler.simulator.gym.episode import Episode
from scheduler.simulator.gym.nodes import Bools
from scheduler.simulator.gym.pods import LeanPod

_BAR = 20


def draw_nodes(episode: Episode, *, offered: LeanPod | None, feasible: Bools) -> str:
    """Draw what is requested of each node; ``x`` marks those where the offered pod may not go."""
    cluster = episode.cluster
    state = cluster.node_state()
    cpu = state.cpu_requested_milli / state.cpu_allocatable_milli
    memory = state.memory_requested_bytes / state.memory_allocatable_bytes
    lines = [f"{cluster.now_s - episode.from_s:.0f} s, {cluster.n_pending} pods pending"]
    for row, name in enumerate(cluster.nodes.names):
        bar = "#" * round(_BAR * cpu[row])
        mark = "x" if offered is not None and not feasible[row] else " "
        amounts = f"cpu {cpu[row]:4.0%}, memory {memory[row]:4.0%}, {state.n_pods[row]:3.0f} pods"
        lines.append(f"{mark} {name:8s} |{bar:{_BAR}s}| {amounts}")
    if offered is not None:
        template = offered.template
        lines.append(
            f"offered: {offered.name}, {template.cpu_request_milli}m cpu, "
            f"{template.memory_request_bytes // 2**20}Mi memory"
        )
    return "\n".join(lines)
