"""Queueing hints: what a changed node means for a pod, found out by the filter itself."""

from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import Change, FilterPlugin
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import Code
from scheduler.model import NodeFacts, PodFacts


def passes_empty(plugin: FilterPlugin, *, pod: PodFacts, node: NodeFacts) -> bool:
    """Tell whether *plugin* would let *pod* onto *node* if it were the only node, without pods."""
    snapshot = Snapshot()
    snapshot.set_node(node)
    found = plugin.filter(CycleState(), pod=pod, snapshot=snapshot)
    return found is None or int(found.codes[0]) == Code.SUCCESS


def begins_to_pass(plugin: FilterPlugin, *, pod: PodFacts, change: Change) -> bool:
    """Tell whether a node passes *plugin* now that did not before.

    For filters that ask of the node alone. True, too, of changes that are no node's.
    """
    before, after = change.before, change.after
    if not isinstance(after, NodeFacts):
        return True
    if isinstance(before, NodeFacts) and passes_empty(plugin, pod=pod, node=before):
        return False
    return passes_empty(plugin, pod=pod, node=after)
