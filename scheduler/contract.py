"""What the scheduler answers to those who ask why a pod is where it is."""

import msgspec

from scheduler.decision import Decision, NodeVerdict, PredictionNote, ScoreTable


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer body; clients ignore fields they do not know."""


class Refusal(Answer, frozen=True, kw_only=True):
    """How many nodes one plugin refused for one reason."""

    plugin: str
    """Empty: left out of the search before it began."""
    reason: str
    n_nodes: int


class NodeScore(Answer, frozen=True, kw_only=True):
    """One feasible node's score."""

    node: str
    total: int
    plugins: dict[str, int]
    """Weighted score by plugin; the total is their sum."""


class DecisionAnswer(Answer, frozen=True, kw_only=True):
    """One decision."""

    namespace: str
    name: str
    uid: str
    profile: str
    attempt: int
    decided_at_s: float
    """Unix seconds of the cluster's clock."""
    queued_s: float
    """How long the pod had been known, by the same clock."""
    node: str | None
    """``null``: no node would do."""
    score: int | None
    """The chosen node's; ``null`` if there was no choice."""
    runner_up: str | None
    margin: int | None
    """By how much the chosen node's score was higher."""
    message: str
    """Why no node would do."""
    n_nodes: int
    n_feasible: int
    refusals: list[Refusal]
    verdicts: list[NodeVerdict]
    """Of the first refused nodes."""
    scores: list[NodeScore]
    """Of the best nodes, best first."""
    prediction: PredictionNote
    summary: str
    """What part the predictor had, in words."""
    nominated_node: str = ""
    """Where the pod will find room when the victims are gone."""
    victims: list[str] = []
    """The pods evicted for it (``namespace/name``)."""


class DecisionList(Answer, frozen=True, kw_only=True):
    """The newest decisions, newest first."""

    items: list[DecisionAnswer]


def view(decision: Decision) -> DecisionAnswer:
    """Show a decision."""
    return DecisionAnswer(
        namespace=decision.namespace,
        name=decision.name,
        uid=decision.uid,
        profile=decision.profile,
        attempt=decision.attempt,
        decided_at_s=decision.decided_at_s,
        queued_s=decision.queued_s,
        node=decision.node,
        score=decision.score,
        runner_up=decision.runner_up,
        margin=decision.margin,
        message=decision.message,
        n_nodes=decision.n_nodes,
        n_feasible=decision.n_feasible,
        refusals=[
            Refusal(plugin=plugin, reason=reason, n_nodes=n)
            for (plugin, reason), n in decision.refusals.items()
        ],
        verdicts=list(decision.verdicts),
        scores=_scores(decision.scores),
        prediction=decision.prediction,
        summary=decision.prediction.words,
        nominated_node=decision.nominated_node,
        victims=list(decision.victims),
    )


def _scores(table: ScoreTable | None) -> list[NodeScore]:
    if table is None:
        return []
    return [
        NodeScore(
            node=node,
            total=int(table.totals[i]),
            plugins={name: int(scores[i]) for name, scores in table.by_plugin.items()},
        )
        for i, node in enumerate(table.nodes)
    ]
