"""Judging placements: did the pod reach Ready and then stay healthy for the observation window?"""

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final

from collector.contract import Outcome
from collector.facts import PodFacts
from collector.history import Tally
from collector.samples import PodSample
from kube.health import FailureReason

STARVED_RATIO: Final = 0.98
"""CPU usage at this share of the limit, or of the node's allocatable, means throttled."""
MAX_THROTTLED_RATIO: Final = 0.25
"""Throttled in more of a sample's CFS periods than this: throttled, where the source tells them."""
MAX_STARVED_SHARE: Final = 0.25
"""Throttled in more of the window's samples than this: starved."""
MAX_TRIAL_SAMPLES: Final = 2_000
"""No trial keeps more; enough for a sample a second over half an hour."""

_OUTLASTS_DELETION: Final = frozenset({"evicted", "node_lost", "oom_killed"})
"""Failures that are none of the deletion's own doing: containers told to stop may exit as if
crashed."""


class Progress(Enum):
    """Where a trial stands that has no outcome."""

    OPEN = "open"
    CENSORED = "censored"
    """The pod was deleted too early to tell: never counted."""


class Fate(IntEnum):
    """What became of a pod's placement so far; the values are stored."""

    UNTRACKED = 0
    """Placed before we watched."""
    OPEN = 1
    SUCCEEDED = 2
    FAILED = 3
    CENSORED = 4


@dataclass(slots=True)
class Trial:
    """A placement whose outcome is not known yet."""

    placed_at_s: float
    ready_at_s: float | None = None
    samples: list[tuple[float, bool]] = field(default_factory=list)
    """When it was sampled, and whether it was throttled."""

    def take(self, *, at_s: float, is_starved: bool) -> None:
        """Remember a sample of the pod."""
        if len(self.samples) < MAX_TRIAL_SAMPLES:
            self.samples.append((at_s, is_starved))


@dataclass(frozen=True, slots=True)
class Marks:
    """What of a pod has been counted already."""

    n_restarts: int = 0
    last_oom_at_s: float = 0.0
    is_evicted: bool = False
    fate: Fate = Fate.UNTRACKED


def judge(
    trial: Trial, *, pod: PodFacts, is_node_lost: bool, now_s: float, window_s: float
) -> Outcome | Progress:
    """Tell how a placement went, as far as can be told now.

    Args:
        trial: The placement; ``ready_at_s`` is when the pod first became Ready.
        pod: The pod now, or in its last state before it went.
        is_node_lost: Whether its node is gone, or not ready while the pod goes or the window ends.
        now_s: The cluster's time.
        window_s: The observation window, in seconds.

    Returns:
        The outcome; or that it is still open; or that it will never be known.
    """
    # Told to stop, containers may end well in the middle of their work.
    if pod.phase == "Succeeded" and not pod.is_deleting:
        return _success(now_s if pod.ended_at_s is None else pod.ended_at_s)
    start_s = trial.placed_at_s if trial.ready_at_s is None else trial.ready_at_s
    due_s = start_s + window_s
    failure = _failure(pod, is_node_lost=is_node_lost)
    if failure is not None:
        failed_at_s = now_s if pod.ended_at_s is None else min(now_s, pod.ended_at_s)
        failed_at_s = max(trial.placed_at_s, failed_at_s)
        # Judged late, a failure may lie behind the window's end.
        if trial.ready_at_s is None or failed_at_s <= due_s:
            return Outcome(success=False, reason=failure, decided_at_s=failed_at_s)
    if now_s < due_s:
        return Progress.CENSORED if pod.is_deleting else Progress.OPEN
    return _judge_window(trial, due_s=due_s, is_node_lost=is_node_lost)


def _judge_window(trial: Trial, *, due_s: float, is_node_lost: bool) -> Outcome:
    if is_node_lost:
        return Outcome(success=False, reason="node_lost", decided_at_s=due_s)
    if trial.ready_at_s is None:
        return Outcome(success=False, reason="start_failed", decided_at_s=due_s)
    if starved_share(trial, until_s=due_s) > MAX_STARVED_SHARE:
        return Outcome(success=False, reason="starved", decided_at_s=due_s)
    return _success(due_s)


def _success(at_s: float) -> Outcome:
    return Outcome(success=True, reason="healthy", decided_at_s=at_s)


def _failure(pod: PodFacts, *, is_node_lost: bool) -> FailureReason | None:
    if pod.disruption is not None:
        return pod.disruption
    if not pod.is_deleting:
        return pod.failure
    if pod.failure in _OUTLASTS_DELETION:
        return pod.failure
    return "node_lost" if is_node_lost else None


def starved_share(trial: Trial, *, until_s: float) -> float:
    """Tell in what share of the samples from Ready to *until_s* the pod was throttled."""
    from_s = trial.placed_at_s if trial.ready_at_s is None else trial.ready_at_s
    window = [is_starved for at_s, is_starved in trial.samples if from_s <= at_s <= until_s]
    return sum(window) / len(window) if window else 0.0


def is_throttled(sample: PodSample, *, pod: PodFacts, share_ratio: float | None = None) -> bool:
    """Tell whether a pod got less CPU than it would have used, as far as a sample shows.

    The kernel shares out a saturated node's CPU in proportion to requests: who used less than its
    share had all that it wanted, and what it left went to the others.

    Args:
        sample: What it used.
        pod: What it may use.
        share_ratio: Of its node's CPU, if that is saturated: what pods got there, as a ratio of
            what they request together.
    """
    if share_ratio is not None and sample.cpu_milli >= STARVED_RATIO * pod.cpu_milli * share_ratio:
        return True
    if sample.throttled_ratio is not None:
        return sample.throttled_ratio > MAX_THROTTLED_RATIO
    limits = dict(pod.cpu_limits_milli)
    return any(
        name in limits and cpu_milli >= STARVED_RATIO * limits[name]
        for name, cpu_milli in sample.containers_cpu_milli
    )


def incidents(pod: PodFacts, *, marks: Marks) -> tuple[Tally, Marks]:
    """Tell what happened to a pod since *marks* were made.

    Returns:
        What to count, and the marks to keep. An OOM kill that two looks both see counts once.
    """
    oom_at_s = max(marks.last_oom_at_s, pod.last_oom_at_s or 0.0)
    tally = Tally(
        n_restarts=max(0, pod.n_restarts - marks.n_restarts),
        n_oom_kills=int(oom_at_s > marks.last_oom_at_s),
        n_evictions=int(pod.is_evicted and not marks.is_evicted),
    )
    marks = Marks(
        n_restarts=max(pod.n_restarts, marks.n_restarts),
        last_oom_at_s=oom_at_s,
        is_evicted=pod.is_evicted or marks.is_evicted,
        fate=marks.fate,
    )
    return tally, marks
