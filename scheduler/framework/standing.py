"""What plugins say of pods of a kind, kept up to date row by row instead of asked for anew.

Pods come in numbers that look alike, and between two of them little changes but the node that took
the first. A plugin that signs pods (``Plugin.sign_pod``) says the same of two pods with one
signature, and what it says of a node depends on that node alone. So its verdicts and scores are
kept by signature, and only the rows that changed are asked about again. (kube-scheduler's
opportunistic batching keeps its list only if the node just used is full.)
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

import numpy as np

from scheduler.framework.changes import NEVER
from scheduler.framework.filter_result import Refusal
from scheduler.framework.interface import Plugin
from scheduler.framework.kept import KeptScores, KeptVerdicts
from scheduler.framework.kept_rows import KeptRows
from scheduler.framework.panel import Panel
from scheduler.framework.part import SnapshotPart
from scheduler.framework.profile import Profile
from scheduler.framework.snapshot import Snapshot
from scheduler.model import PodFacts

_MAX_SIGNATURES: Final = 64
_MAX_PRIORITIES: Final = 4
"""Among pods of one signature."""
_MAX_PATCHED_RATIO: Final = 0.1
"""If more of the rows changed, asking about all of them at once is faster."""


class Standing:
    """What the plugins that sign a pod say of every node.

    Args:
        profile: Whose plugins to ask.
        pod: Any of the pods with the signature.
        signature: What they signed; ``None`` for those that did not.
        signers: Names of the plugins that sign it.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        pod: PodFacts,
        signature: tuple[Hashable, ...],
        signers: frozenset[str],
    ) -> None:
        self.signature = signature
        self.verdicts = KeptVerdicts()
        """Of the filters that need not be asked."""
        self.scores = KeptScores(profile)
        """Of the plugins that need not be asked."""
        self._room: OrderedDict[int, KeptRows[Refusal | None]] = OrderedDict()
        self._profile = profile
        self._pod = pod
        self._all = Panel.of(profile, filters=signers, scores=signers)
        self._pod_readers = self._all
        self._node_version = self._version = NEVER

    def room(self, priority: int) -> KeptRows[Refusal | None]:
        """Return what nodes say of such pods beside those who were promised room there."""
        room = self._room.setdefault(priority, KeptRows())
        self._room.move_to_end(priority)
        if len(self._room) > _MAX_PRIORITIES:
            self._room.popitem(last=False)
        return room

    def update(self, snapshot: Snapshot) -> None:
        """Ask about the rows that changed."""
        nodes_changed = snapshot.node_changes.since(self._node_version)
        changed = snapshot.changes.since(self._version)
        if changed is None or len(changed) > _MAX_PATCHED_RATIO * snapshot.n_nodes:
            self._ask_about_all(snapshot)
        elif changed:
            rows = np.fromiter(changed, dtype=np.intp, count=len(changed))
            panel = self._all if nodes_changed else self._pod_readers
            answers = panel.ask(self._pod, snapshot=SnapshotPart(snapshot, rows=rows))
            self.verdicts.patch(rows, answers.verdicts)
            self.scores.patch(rows, answers.scores)
        self._node_version = snapshot.node_changes.version
        self._version = snapshot.changes.version

    def _ask_about_all(self, snapshot: Snapshot) -> None:
        answers = self._all.ask(self._pod, snapshot=snapshot)
        self.verdicts.replace(answers.verdicts, n_nodes=snapshot.n_nodes)
        self.scores.replace(answers.scores, n_nodes=snapshot.n_nodes)
        readers = self._all.pod_readers()
        self._pod_readers = Panel.of(
            self._profile,
            # What skips this pod once skips it always.
            filters=[name for name in readers if name in answers.verdicts],
            scores=[name for name in readers if name in answers.scores],
        )


class Standings:
    """Standings by signature; those asked for least lately are dropped when there are too many.

    Args:
        profile: Whose plugins to ask.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        plugins: dict[str, Plugin] = {p.name: p for p in (*profile.filter, *profile.score)}
        self._plugins = tuple(plugins.values())
        self._standings: OrderedDict[Hashable, Standing] = OrderedDict()
        self._latest: tuple[PodFacts, Standing] | None = None
        """A cycle asks twice of one pod."""

    def of(self, pod: PodFacts, *, snapshot: Snapshot) -> Standing:
        """Return what holds for *pod* on *snapshot*, which must be the same one every time."""
        if self._latest is None or self._latest[0] is not pod:
            self._latest = pod, self._find(pod)
        standing = self._latest[1]
        standing.update(snapshot)
        return standing

    def _find(self, pod: PodFacts) -> Standing:
        signature = tuple([plugin.sign_pod(pod) for plugin in self._plugins])
        standing = self._standings.get(signature)
        if standing is None:
            standing = self._standings[signature] = self._make(pod, signature)
        self._standings.move_to_end(signature)
        return standing

    def _make(self, pod: PodFacts, signature: tuple[Hashable, ...]) -> Standing:
        if len(self._standings) >= _MAX_SIGNATURES:
            self._standings.popitem(last=False)
        signs = zip(self._plugins, signature, strict=True)
        signers = frozenset(plugin.name for plugin, sign in signs if sign is not None)
        return Standing(self._profile, pod=pod, signature=signature, signers=signers)
