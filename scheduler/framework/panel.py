"""Asks the plugins that sign a pod about some nodes, as a cycle would."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    FilterPlugin,
    PreFilterPlugin,
    PreScorePlugin,
    ScorePlugin,
)
from scheduler.framework.meter import Meter
from scheduler.framework.profile import Profile
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import ScoreColumn, Verdicts
from scheduler.model import PodFacts


@dataclass(frozen=True, slots=True)
class Answers:
    """What some plugins say about a snapshot or a part of it, by plugin."""

    verdicts: Mapping[str, Verdicts | None]
    """``None`` passes all nodes; a plugin whose PreFilter skips is left out."""
    scores: Mapping[str, ScoreColumn]
    """Before normalization; a plugin whose PreScore skips is left out."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Plugins to ask, in the profile's order."""

    pre_filters: Sequence[PreFilterPlugin]
    filters: Sequence[FilterPlugin]
    pre_scores: Sequence[PreScorePlugin]
    scores: Sequence[ScorePlugin]
    meter: Meter
    sampled: "Panel | None"
    """The same plugins, every call of which the meter is told of."""

    @classmethod
    def of(cls, profile: Profile, *, filters: Collection[str], scores: Collection[str]) -> "Panel":
        """Pick plugins from a profile, by name."""
        twin = profile.sampled
        return cls(
            [plugin for plugin in profile.pre_filter if plugin.name in filters],
            [plugin for plugin in profile.filter if plugin.name in filters],
            [plugin for plugin in profile.pre_score if plugin.name in scores],
            [plugin for plugin in profile.score if plugin.name in scores],
            profile.meter,
            None if twin is None else cls.of(twin, filters=filters, scores=scores),
        )

    def pod_readers(self) -> list[str]:
        """Name those that read the pods on a node."""
        return [p.name for p in (*self.filters, *self.scores) if p.reads_pods]

    def ask(self, pod: PodFacts, *, snapshot: Snapshot) -> Answers:
        """Ask about the nodes of *snapshot*, in a cycle of their own."""
        if self.sampled is not None and self.meter.is_sampling:
            return self.sampled.ask(pod, snapshot=snapshot)
        state = CycleState()
        skipped = [
            plugin.name
            for plugin in self.pre_filters
            if not plugin.pre_filter(state, pod=pod, snapshot=snapshot).status.is_success
        ]
        verdicts = {
            plugin.name: plugin.filter(state, pod=pod, snapshot=snapshot)
            for plugin in self.filters
            if plugin.name not in skipped
        }
        everywhere = np.ones(snapshot.n_nodes, dtype=np.bool_)
        skipped = [
            plugin.name
            for plugin in self.pre_scores
            if not plugin.pre_score(
                state, pod=pod, snapshot=snapshot, feasible=everywhere
            ).is_success
        ]
        scores = {
            plugin.name: plugin.score(state, pod=pod, snapshot=snapshot)
            for plugin in self.scores
            if plugin.name not in skipped
        }
        return Answers(verdicts, scores)
