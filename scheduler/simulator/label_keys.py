"""Label keys that stand for a new pod's own labels: merged into the selectors beside them.

Schedulers see plain selectors, whatever the labels become afterwards.
"""

from collections.abc import Mapping

from scheduler.simulator.resources import Object

_OPERATORS = {"matchLabelKeys": "In", "mismatchLabelKeys": "NotIn"}
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def with_merged_label_keys(spec: Object, labels: Mapping[str, str]) -> Object:
    """A copy of a new pod's spec in which selectors hold what their label keys stand for.

    Args:
        spec: Of a pod, not of a template: replicas of different revisions have different labels.
        labels: The pod's.
    """
    merged = dict(spec)
    if spec.get("topologySpreadConstraints"):
        constraints = spec["topologySpreadConstraints"]
        merged["topologySpreadConstraints"] = [_merged(each, labels) for each in constraints]
    affinity = spec.get("affinity") or {}
    of_pods = {
        kind: _merged_terms(affinity[kind], labels)
        for kind in ("podAffinity", "podAntiAffinity")
        if affinity.get(kind)
    }
    return merged | {"affinity": affinity | of_pods} if of_pods else merged


def given_expressions(constraint: Object) -> list[Object]:
    """The expressions of a constraint's selector, without those that its label keys stand for."""
    expressions = list((constraint.get("labelSelector") or {}).get("matchExpressions") or ())
    for field, operator in _OPERATORS.items():
        for key in constraint.get(field) or ():
            for i in reversed(range(len(expressions))):
                if (expressions[i].get("key"), expressions[i].get("operator")) == (key, operator):
                    del expressions[i]
                    break
    return expressions


def _merged_terms(affinity: Object, labels: Mapping[str, str]) -> Object:
    result = dict(affinity)
    if affinity.get(_REQUIRED):
        result[_REQUIRED] = [_merged(term, labels) for term in affinity[_REQUIRED]]
    if affinity.get(_PREFERRED):
        result[_PREFERRED] = [
            {**term, "podAffinityTerm": _merged(term.get("podAffinityTerm") or {}, labels)}
            for term in affinity[_PREFERRED]
        ]
    return result


def _merged(constraint: Object, labels: Mapping[str, str]) -> Object:
    selector = constraint.get("labelSelector")
    more = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for field, operator in _OPERATORS.items()
        for key in constraint.get(field) or ()
        if key in labels
    ]
    if selector is None or not more:
        return constraint  # what selects nothing goes on selecting nothing
    expressions = [*(selector.get("matchExpressions") or ()), *more]
    return {**constraint, "labelSelector": {**selector, "matchExpressions": expressions}}
