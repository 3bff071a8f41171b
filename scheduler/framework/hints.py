"""Queueing hints: what a changed node means for a pod that was refused."""

from collections.abc import Callable

from scheduler.framework.interface import Change
from scheduler.model import NodeFacts


def begins_to_pass(change: Change, *, passes: Callable[[NodeFacts], bool]) -> bool:
    """Tell whether a node would do now that would not before.

    For filters that ask of the node alone, whatever runs on it. True, too, of changes that are no
    node's.

    Args:
        change: What changed.
        passes: Whether the filter lets the pod onto a node.
    """
    before, after = change.before, change.after
    if not isinstance(after, NodeFacts):
        return True
    if isinstance(before, NodeFacts) and passes(before):
        return False
    return passes(after)
