"""What changed pods mean for a pod that InterPodAffinity refused."""

from scheduler.model import PodFacts, PodTerm


def pods_may_help(pod: PodFacts, *, before: PodFacts | None, after: PodFacts | None) -> bool:
    """Tell whether it may help *pod* that a running pod came, went or changed.

    Args:
        pod: The pod that was refused.
        before: The running pod as it was; ``None`` if it is new.
        after: The running pod as it is; ``None`` if it is gone.
    """
    was_near, is_near = (_may_join(pod, other) for other in (before, after))
    if is_near and not was_near:
        return True
    if was_near and not is_near and _may_join(pod, pod):
        # It may have been the last: then the pod may be the first.
        return True
    gone = before.pod_anti_affinity if before is not None and after is None else ()
    return any(_may_match(term.pods, pod) for term in gone) or any(
        _may_match(term.pods, before) and not _may_match(term.pods, after)
        for term in pod.pod_anti_affinity
    )


def _may_join(pod: PodFacts, other: PodFacts | None) -> bool:
    terms = pod.pod_affinity
    return bool(terms) and all(_may_match(term.pods, other) for term in terms)


def _may_match(term: PodTerm, pod: PodFacts | None) -> bool:
    """Match labels and, as far as it is known without asking about namespaces, the namespace."""
    if pod is None or term.query is None or not term.query.matches(pod.labels):
        return False
    return term.namespace_query is not None or pod.namespace in term.namespaces
