"""How good a node is for an even spread: the fewer pods near it, the better."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scheduler.framework.columns import IntColumn
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import MAX_NODE_SCORE, BoolColumn, ScoreColumn
from scheduler.framework.topology import Domains
from scheduler.model import PodFacts, SpreadConstraint
from scheduler.plugins.spread_constraints import HOSTNAME
from scheduler.plugins.spread_skew import Inclusion, counted_pods


@dataclass(frozen=True, slots=True, eq=False)
class SoftSpread:
    """A pod's soft constraints, and the nodes that it has to choose from."""

    constraints: Sequence[SpreadConstraint]
    feasible: BoolColumn
    """Shape ``(n_nodes,)``."""
    needs_all_keys: bool
    """Whether nodes that lack a key neither count nor get a score."""

    def scores(self, pod: PodFacts, *, snapshot: Snapshot) -> ScoreColumn:
        """Rate the feasible nodes from 0 to 100; the others get 0."""
        candidates = np.ones(snapshot.n_nodes, dtype=np.bool_)
        if self.needs_all_keys:
            for each in self.constraints:
                candidates &= snapshot.labels.has(each.topology_key)
        rated = self.feasible & candidates
        inclusion = Inclusion(pod, snapshot=snapshot, candidates=candidates)
        costs = np.zeros(snapshot.n_nodes, dtype=np.float64)
        for each in self.constraints:
            counts = snapshot.count(counted_pods(each, pod))
            if each.topology_key == HOSTNAME:
                near, n_domains = counts, int(np.count_nonzero(rated))
            else:
                domains = _domains(snapshot, each.topology_key)
                near = domains.at_nodes(domains.sums(counts, where=inclusion.of(each)))
                n_domains = int(np.count_nonzero(domains.sums(rated.astype(np.int64))))
            # Without the key a node costs nothing; small domains are to weigh as much as large.
            cost = near * math.log(n_domains + 2) + (each.max_skew - 1)
            costs += cost * snapshot.labels.has(each.topology_key)
        return _normalized(np.floor(costs + 0.5).astype(np.int64), rated)


def _domains(snapshot: Snapshot, key: str) -> Domains:
    """Read the domains of *key*; upstream takes a label that is missing for an empty one."""
    ids, n_ids = snapshot.labels.ids(key)
    if ids.min(initial=0) >= 0:
        return Domains(ids, n_ids)
    empty = snapshot.labels.value_id(key, value="")
    return Domains(np.where(ids < 0, n_ids if empty < 0 else empty, ids), n_ids + 1)


def _normalized(costs: IntColumn, rated: BoolColumn) -> ScoreColumn:
    chosen = costs[rated]
    highest = int(chosen.max(initial=0))
    if highest == 0:
        return MAX_NODE_SCORE * rated.astype(np.int64)
    lowest = int(chosen.min())
    return rated * (MAX_NODE_SCORE * (highest + lowest - costs) // highest)
