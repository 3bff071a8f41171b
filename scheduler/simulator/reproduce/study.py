"""One variant of the trace, ready to be run: its cluster, pods, orders and what was published."""

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Self

import msgspec
import numpy as np

from scheduler.plugins.gpu.columns import CARD_MILLI, GpuNodes, GpuPod
from scheduler.plugins.gpu.fragmentation import PodShape, TypicalWorkload
from scheduler.plugins.gpu.policies import POLICIES, PolicyContext
from scheduler.simulator.chance import generator_of
from scheduler.simulator.reproduce.curves import measure
from scheduler.simulator.reproduce.orders import draw_order
from scheduler.simulator.reproduce.replay import REJECTED, Placements, replay
from scheduler.simulator.traces.openb import (
    ArrivalOrder,
    OpenbNode,
    OpenbPod,
    read_nodes,
    read_orders,
    read_pods,
)

MAX_PODS_PER_NODE: Final = 1001
"""As in the published experiments."""
_DECIMALS: Final = 4
"""Of per cents; those of published curves are 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A run: one policy meets one order of arrival of one variant."""

    variant: str
    policy: str
    seed: int


class RunOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to; curves by whole arrived load 0 to 130, in per cent of the GPU."""

    variant: str
    policy: str
    seed: int
    is_recorded: bool
    """Whether the order of arrival is the published experiment's, not one that we drew."""
    allocated: list[float]
    """NaN (in JSON: null) where no arrival made the load round to that number."""
    fragmented: list[float]
    n_arrivals: int
    n_rejected: int
    cpu_s: float
    """Processor time of the run and its measuring."""


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """A variant, as read."""

    variant: str
    nodes: list[OpenbNode]
    pods: list[OpenbPod]
    requests: list[GpuPod]
    """What each of *pods* asks for."""
    workload: TypicalWorkload
    recorded: dict[int, ArrivalOrder]
    """By seed."""

    @classmethod
    def read(cls, folder: Path, *, variant: str) -> Self:
        """Read a variant.

        Raises:
            TraceFileError: A file is missing or malformed.
        """
        nodes, pods = read_nodes(folder), read_pods(folder, variant=variant)
        return cls(
            variant,
            nodes,
            pods,
            [_request(pod) for pod in pods],
            TypicalWorkload.of(
                PodShape(pod.cpu_milli, pod.card_milli, pod.n_cards, pod.gpu_spec) for pod in pods
            ),
            read_orders(folder, variant=variant, n_pods=len(pods), n_nodes=len(nodes)),
        )

    def order(self, seed: int) -> ArrivalOrder:
        """Give the recorded order of a seed, or draw one."""
        recorded = self.recorded.get(seed)
        if recorded is not None:
            return recorded
        return draw_order(
            self.pods,
            n_nodes=len(self.nodes),
            capacity_milli=sum(node.n_cards for node in self.nodes) * CARD_MILLI,
            chance=generator_of("openb order", self.variant, seed),
        )

    def idle_nodes(self, order: ArrivalOrder) -> GpuNodes:
        """Lay out the cluster before the first arrival, nodes by rank."""
        ranked = self.ranked_nodes(order)
        return GpuNodes.of(
            cpu_milli=[node.cpu_milli for node in ranked],
            memory_bytes=[node.memory_bytes for node in ranked],
            n_cards=[node.n_cards for node in ranked],
            model=[node.model for node in ranked],
            max_pods=MAX_PODS_PER_NODE,
        )

    def ranked_nodes(self, order: ArrivalOrder) -> list[OpenbNode]:
        """List nodes in the order in which they are preferred among equals."""
        return [self.nodes[row] for row in np.argsort(order.node_ranks).tolist()]

    def place(self, policy: str, *, seed: int) -> Placements:
        """Let a seed's pods arrive; rows of the placements are nodes by rank."""
        order = self.order(seed)
        nodes = self.idle_nodes(order)
        context = PolicyContext(
            workload=self.workload,
            idle=nodes,
            chance=generator_of("openb policy", self.variant, policy, seed),
        )
        return replay(
            self.requests, nodes=nodes, arrivals=order.pods, policy=POLICIES[policy](context)
        )

    def run(self, policy: str, *, seed: int) -> RunOutcome:
        """Run a policy on a seed's arrivals, and measure."""
        started_s = time.process_time()
        order = self.order(seed)
        placements = self.place(policy, seed=seed)
        curves = measure(
            placements,
            pods=self.requests,
            arrivals=order.pods,
            nodes=self.idle_nodes(order),
            workload=self.workload,
        )
        return RunOutcome(
            variant=self.variant,
            policy=policy,
            seed=seed,
            is_recorded=seed in self.recorded,
            allocated=curves.allocated.round(_DECIMALS).tolist(),
            fragmented=curves.fragmented.round(_DECIMALS).tolist(),
            n_arrivals=len(order.pods),
            n_rejected=int((placements.nodes == REJECTED).sum()),
            cpu_s=time.process_time() - started_s,
        )


@cache
def study_of(folder: Path, variant: str) -> Study:
    """Read a variant once a process.

    Raises:
        TraceFileError: A file is missing or malformed.
    """
    return Study.read(folder, variant=variant)


def _request(pod: OpenbPod) -> GpuPod:
    return GpuPod(
        cpu_milli=pod.cpu_milli,
        memory_bytes=pod.memory_bytes,
        n_cards=pod.n_cards,
        card_milli=pod.card_milli,
        models=frozenset(filter(None, pod.gpu_spec.split("|"))),
    )
