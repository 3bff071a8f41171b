"""What is wrong with affinities, label selectors and spread constraints."""

from collections.abc import Iterable, Iterator

from scheduler.simulator.apiserver.errors import (
    FieldError,
    forbidden_field,
    invalid_value,
    required,
    unsupported,
)
from scheduler.simulator.apiserver.names import label_key_problems, label_value_problems
from scheduler.simulator.label_keys import given_expressions
from scheduler.simulator.resources import Object

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_WEIGHTS = "must be in the range 1-100"


def affinity_errors(affinity: Object, at: str) -> Iterator[FieldError]:
    """Everything wrong with a pod's affinity."""
    node = affinity.get("nodeAffinity") or {}
    here = f"{at}.nodeAffinity"
    if _REQUIRED in node:
        yield from node_selector_errors(node[_REQUIRED], f"{here}.{_REQUIRED}")
    for i, term in enumerate(node.get(_PREFERRED) or ()):
        yield from _weight_errors(term, f"{here}.{_PREFERRED}[{i}].weight")
        preference = f"{here}.{_PREFERRED}[{i}].preference"
        yield from _node_term_errors(term.get("preference") or {}, preference)
    for name in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(name) or {}
        for i, term in enumerate(pods.get(_REQUIRED) or ()):
            yield from _pod_term_errors(term, f"{at}.{name}.{_REQUIRED}[{i}]")
        for i, term in enumerate(pods.get(_PREFERRED) or ()):
            here = f"{at}.{name}.{_PREFERRED}[{i}]"
            yield from _weight_errors(term, f"{here}.weight")
            yield from _pod_term_errors(
                term.get("podAffinityTerm") or {}, f"{here}.podAffinityTerm"
            )


def node_selector_errors(selector: Object, at: str) -> Iterator[FieldError]:
    """Everything wrong with a node selector."""
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        yield required(f"{at}.nodeSelectorTerms", "must have at least one node selector term")
    for i, term in enumerate(terms):
        yield from _node_term_errors(term, f"{at}.nodeSelectorTerms[{i}]")


def label_selector_errors(selector: Object, at: str) -> Iterator[FieldError]:
    """Everything wrong with a label selector object."""
    for key, value in (selector.get("matchLabels") or {}).items():
        for problem in label_key_problems(key):
            yield invalid_value(f"{at}.matchLabels", key, problem)
        for problem in label_value_problems(value):
            yield invalid_value(f"{at}.matchLabels", value, problem)
    for i, term in enumerate(selector.get("matchExpressions") or ()):
        yield from _label_term_errors(term, f"{at}.matchExpressions[{i}]")


def spread_errors(spec: Object, at: str) -> Iterator[FieldError]:
    """Everything wrong with topology spread constraints."""
    for i, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        here = f"{at}[{i}]"
        skew = constraint.get("maxSkew", 0)
        if skew <= 0:
            yield invalid_value(f"{here}.maxSkew", skew, "must be greater than zero")
        if not constraint.get("topologyKey"):
            yield required(f"{here}.topologyKey", "can not be empty")
        action = constraint.get("whenUnsatisfiable", "")
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            known = ("DoNotSchedule", "ScheduleAnyway")
            yield unsupported(f"{here}.whenUnsatisfiable", action, known)
        selector = constraint.get("labelSelector") or {}
        yield from label_selector_errors(selector, f"{here}.labelSelector")
        yield from _label_key_errors(constraint, "matchLabelKeys", here)


def _label_key_errors(constraint: Object, field: str, at: str) -> Iterator[FieldError]:
    keys, selector = constraint.get(field) or (), constraint.get("labelSelector")
    if keys and selector is None:
        yield forbidden_field(
            f"{at}.{field}", "must not be specified when labelSelector is not set"
        )
    selected = {each.get("key") for each in given_expressions(constraint)}
    selected |= set((selector or {}).get("matchLabels") or ())
    for i, key in enumerate(keys):
        here = f"{at}.{field}[{i}]"
        for problem in label_key_problems(key):
            yield invalid_value(here, key, problem)
        if key in selected:
            yield invalid_value(here, key, f"exists in both {field} and labelSelector")


def _weight_errors(term: Object, at: str) -> Iterator[FieldError]:
    weight = term.get("weight", 0)
    if not 1 <= weight <= 100:
        yield invalid_value(at, weight, _WEIGHTS)


def _node_term_errors(term: Object, at: str) -> Iterator[FieldError]:
    for field in ("matchExpressions", "matchFields"):
        for i, requirement in enumerate(term.get(field) or ()):
            here = f"{at}.{field}[{i}]"
            yield from _node_requirement_errors(requirement, here)
            key = requirement.get("key", "")
            if field == "matchFields":
                if key != "metadata.name":
                    yield invalid_value(f"{here}.key", key, "not a valid field selector key")
                continue
            for problem in label_key_problems(key):
                yield invalid_value(f"{here}.key", key, problem)


def _node_requirement_errors(requirement: Object, at: str) -> Iterator[FieldError]:
    operator, values = requirement.get("operator", ""), requirement.get("values") or ()
    if operator in ("Gt", "Lt"):
        if len(values) != 1:
            detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            yield required(f"{at}.values", detail)
    else:
        yield from _set_operator_errors(operator, values, at)


def _set_operator_errors(operator: str, values: Iterable[str], at: str) -> Iterator[FieldError]:
    if operator in ("In", "NotIn"):
        if not values:
            yield required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            yield forbidden_field(f"{at}.values", detail)
    else:
        yield invalid_value(f"{at}.operator", operator, "not a valid selector operator")


def _label_term_errors(term: Object, at: str) -> Iterator[FieldError]:
    yield from _set_operator_errors(term.get("operator", ""), term.get("values") or (), at)
    for problem in label_key_problems(term.get("key", "")):
        yield invalid_value(f"{at}.key", term.get("key", ""), problem)


def _pod_term_errors(term: Object, at: str) -> Iterator[FieldError]:
    yield from label_selector_errors(term.get("labelSelector") or {}, f"{at}.labelSelector")
    yield from _label_key_errors(term, "matchLabelKeys", at)
    yield from _label_key_errors(term, "mismatchLabelKeys", at)
    for i, key in enumerate(term.get("mismatchLabelKeys") or ()):
        if key in (term.get("matchLabelKeys") or ()):
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            yield invalid_value(f"{at}.mismatchLabelKeys[{i}]", key, detail)
    key = term.get("topologyKey", "")
    if not key:
        yield required(f"{at}.topologyKey", "can not be empty")
        return
    for problem in label_key_problems(key):
        yield invalid_value(f"{at}.topologyKey", key, problem)
