"""What a Deployment says of itself: counts, Available, Progressing."""

from collections.abc import Sequence

from kube.instants import parse_rfc3339, rfc3339
from scheduler.simulator.controllers.pods import condition_of
from scheduler.simulator.controllers.rollout import limits
from scheduler.simulator.resources import Object


def status_of(
    deployment: Object, *, new: Object | None, sets: Sequence[Object], now_s: float
) -> tuple[Object, float | None]:
    """Work out a Deployment's status.

    Args:
        deployment: With its last status.
        new: The ReplicaSet of its current template, if there is one.
        sets: All its ReplicaSets.
        now_s: The time.

    Returns:
        The status, and when to look again if a deadline is running.
    """
    before = deployment["status"]
    total, ready, available = (
        _sum(sets, k) for k in ("replicas", "readyReplicas", "availableReplicas")
    )
    updated = 0 if new is None else new["status"].get("replicas", 0)
    # Upstream counts what the sets want, so that a pod not yet created counts as unavailable.
    wanted_total = sum(s["spec"]["replicas"] for s in sets)
    counts = {
        "replicas": total,
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": available,
        "unavailableReplicas": max(0, wanted_total - available),
    }
    status: Object = {"observedGeneration": deployment["metadata"].get("generation", 0)}
    status |= {name: count for name, count in counts.items() if count}
    if before.get("collisionCount"):
        status["collisionCount"] = before["collisionCount"]
    progressing, again_at_s = _progressing(deployment, new=new, counts=counts, now_s=now_s)
    status["conditions"] = [_available(deployment, available=available, now_s=now_s)]
    if progressing is not None:
        status["conditions"].append(progressing)
    return status, again_at_s


def _sum(sets: Sequence[Object], name: str) -> int:
    return sum(s["status"].get(name, 0) for s in sets)


def _available(deployment: Object, *, available: int, now_s: float) -> Object:
    least = deployment["spec"]["replicas"] - limits(deployment)[1]
    if deployment["spec"]["strategy"]["type"] == "Recreate":
        least = deployment["spec"]["replicas"]
    if available >= least:
        words = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        words = (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    return _condition(deployment, "Available", words=words, now_s=now_s)


def _progressing(
    deployment: Object, *, new: Object | None, counts: dict[str, int], now_s: float
) -> tuple[Object | None, float | None]:
    old = condition_of(deployment, "Progressing")
    if new is None or deployment["spec"].get("paused"):
        return old, None
    name = new["metadata"]["name"]
    is_settled = old is not None and old.get("reason") == "NewReplicaSetAvailable"
    if is_settled and counts["replicas"] == counts["updatedReplicas"]:
        return old, None  # a finished rollout stays finished when a pod crashes later
    wanted = deployment["spec"]["replicas"]
    is_complete = (
        counts["updatedReplicas"] == wanted == counts["replicas"] == counts["availableReplicas"]
    )
    if is_complete:
        message = f'ReplicaSet "{name}" has successfully progressed.'
        words = ("True", "NewReplicaSetAvailable", message)
        return _condition(deployment, "Progressing", words=words, now_s=now_s), None
    if _has_moved(deployment, counts=counts) or old is None or name not in old.get("message", ""):
        reason = "ReplicaSetUpdated" if old is not None else "NewReplicaSetCreated"
        verb = "is progressing." if old is not None else ""
        message = f'ReplicaSet "{name}" {verb}' if verb else f'Created new replica set "{name}"'
        words = ("True", reason, message)
        made = _condition(deployment, "Progressing", words=words, now_s=now_s, is_news=True)
        return made, now_s + deployment["spec"]["progressDeadlineSeconds"]
    deadline_s = _updated_at_s(old, now_s=now_s) + deployment["spec"]["progressDeadlineSeconds"]
    if now_s < deadline_s or old["reason"] in (
        "NewReplicaSetAvailable",
        "ProgressDeadlineExceeded",
    ):
        # A finished rollout stays finished when a pod crashes later.
        return old, deadline_s if now_s < deadline_s else None
    words = ("False", "ProgressDeadlineExceeded", f'ReplicaSet "{name}" has timed out progressing.')
    return _condition(deployment, "Progressing", words=words, now_s=now_s), None


def _updated_at_s(condition: Object, *, now_s: float) -> float:
    at = condition.get("lastUpdateTime")
    return parse_rfc3339(at) if at else now_s


def _has_moved(deployment: Object, *, counts: dict[str, int]) -> bool:
    before = deployment["status"]
    gained = any(
        counts[name] > before.get(name, 0)
        for name in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    old_before = before.get("replicas", 0) - before.get("updatedReplicas", 0)
    return gained or counts["replicas"] - counts["updatedReplicas"] < old_before


def _condition(
    deployment: Object,
    type_: str,
    *,
    words: tuple[str, str, str],
    now_s: float,
    is_news: bool = False,
) -> Object:
    status, reason, message = words
    old = condition_of(deployment, type_)
    now = rfc3339(now_s)
    if (
        old is not None
        and (old.get("status"), old.get("reason")) == (status, reason)
        and not is_news
    ):
        return old
    is_same = old is not None and old.get("status") == status
    changed = (is_same and old and old.get("lastTransitionTime")) or now
    return {
        "type": type_,
        "status": status,
        "lastUpdateTime": now,
        "lastTransitionTime": changed,
        "reason": reason,
        "message": message,
    }
