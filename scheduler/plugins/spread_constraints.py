"""Which constraints spread a pod: its own, or the profile's if it has none."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from kube.edge.settings import Settings
from kube.objects import ReplicaSet, ReplicationController, StatefulSet
from kube.selectors import LabelQuery, Requirement, label_query, labels_query
from scheduler.framework.interface import PluginArgs
from scheduler.framework.objects import ClusterObjects
from scheduler.model import PodFacts, SpreadConstraint

HOSTNAME: Final = "kubernetes.io/hostname"
ZONE: Final = "topology.kubernetes.io/zone"

_SYSTEM_DEFAULTS: Final = (
    SpreadConstraint(HOSTNAME, max_skew=3, is_hard=False, query=None),
    SpreadConstraint(ZONE, max_skew=5, is_hard=False, query=None),
)

_LabelKey = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(?=.{1,317}$)"
        r"((?=[^/]{1,253}/)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
        r"(?=[^/]{1,63}$)([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$"
    ),
]
_Positive = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
_InclusionPolicy = Literal["Honor", "Ignore"]


class DefaultConstraint(Settings, frozen=True, rename="camel"):
    """A constraint for pods that have none of their own; its selector is deduced for each pod."""

    max_skew: _Positive
    topology_key: _LabelKey
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    min_domains: _Positive | None = None
    node_affinity_policy: _InclusionPolicy | None = None
    """Honor by default."""
    node_taints_policy: _InclusionPolicy | None = None
    """Ignore by default."""
    match_label_keys: tuple[str, ...] = ()
    """Accepted for upstream's files, where it changes nothing either."""
    label_selector: Any = None
    """Refused, as upstream does."""

    def __post_init__(self) -> None:
        if self.label_selector is not None:
            raise ValueError("labelSelector must not be set: it is deduced for each pod")

    def constraint(self) -> SpreadConstraint:
        """Return what it asks for, without a selector."""
        return SpreadConstraint(
            self.topology_key,
            max_skew=self.max_skew,
            is_hard=self.when_unsatisfiable == "DoNotSchedule",
            query=None,
            min_domains=self.min_domains or 1,
            honors_node_affinity=self.node_affinity_policy != "Ignore",
            honors_node_taints=self.node_taints_policy == "Honor",
        )


class PodTopologySpreadArgs(PluginArgs, frozen=True):
    """Arguments of PodTopologySpread."""

    default_constraints: tuple[DefaultConstraint, ...] = ()
    """For pods without constraints, when ``defaultingType`` is ``List``."""
    defaulting_type: Literal["System", "List"] = "System"
    """``System``: spread over hosts and zones, softly."""

    def __post_init__(self) -> None:
        if self.defaulting_type == "System" and self.default_constraints:
            raise ValueError("defaultConstraints must be empty when defaultingType is System")
        kinds = {(each.topology_key, each.when_unsatisfiable) for each in self.default_constraints}
        if len(kinds) < len(self.default_constraints):
            raise ValueError("defaultConstraints holds a topologyKey twice for one action")


class Constraints:
    """Finds the constraints that hold for a pod.

    Args:
        args: The plugin's.
    """

    def __init__(self, args: PodTopologySpreadArgs) -> None:
        self._is_system = args.defaulting_type == "System"
        listed = tuple(each.constraint() for each in args.default_constraints)
        self._defaults = _SYSTEM_DEFAULTS if self._is_system else listed

    def declared(self, pod: PodFacts, *, is_hard: bool) -> list[SpreadConstraint]:
        """List the pod's constraints, or the defaults without their selectors."""
        return [each for each in pod.spread or self._defaults if each.is_hard == is_hard]

    def complete(
        self, pod: PodFacts, *, is_hard: bool, objects: ClusterObjects
    ) -> Sequence[SpreadConstraint]:
        """List the pod's constraints, or the defaults with the selector that fits the pod."""
        declared = self.declared(pod, is_hard=is_hard)
        if pod.spread or not declared:
            return declared
        query = deduced_query(pod, objects)
        if not query.requirements:
            return ()
        return [each._replace(query=query) for each in declared]

    def needs_all_keys(self, pod: PodFacts) -> bool:
        """Whether nodes without one of the keys are left out of the score.

        Not with the system's defaults: nodes may have no zone.
        """
        return bool(pod.spread) or not self._is_system


def deduced_query(pod: PodFacts, objects: ClusterObjects) -> LabelQuery:
    """Select the pods that belong to the services and the controller of *pod*.

    Returns:
        Without requirements if it has neither.
    """
    labels = objects.service_labels(pod.namespace, labels=pod.labels)
    owner = pod.owner
    if owner is None:
        return labels_query(labels)
    key = f"{pod.namespace}/{owner.name}"
    if owner.kind == "ReplicationController":
        controller = objects.find(ReplicationController, key)
        counted = controller.spec.selector if controller is not None else None
        return labels_query(labels | (counted or {}))
    query = labels_query(labels)
    for requirement in _set_requirements(owner.kind, key, objects):
        query = query.also(requirement)
    return query


def _set_requirements(kind: str, key: str, objects: ClusterObjects) -> Sequence[Requirement]:
    found: ReplicaSet | StatefulSet | None = None
    if kind == "ReplicaSet":
        found = objects.find(ReplicaSet, key)
    elif kind == "StatefulSet":
        found = objects.find(StatefulSet, key)
    query = label_query(found.spec.selector) if found is not None else None
    return query.requirements if query is not None else ()
