"""In which order an application's workloads are to be placed: before or after what they need."""

from collections import Counter
from typing import Final

from kube.custom import AppGroupSpec, AppGroupWorkloadRef

_REVERSE: Final = "Reverse"
_ALTERNATE: Final = "Alternate"
_TARJAN: Final = "Tarjan"


def workload_order(spec: AppGroupSpec) -> tuple[AppGroupWorkloadRef, ...]:
    """Sort an application's workloads by ``topologySortingAlgorithm``.

    ``KahnSort`` and ``TarjanSort`` put a workload before those that it depends on. Where that
    leaves a choice, of those that nobody depends on the one named first comes first, and of those
    that one workload depends on the one named last. ``Reverse…`` turns the order round;
    ``Alternate…`` takes the first, the last, the second, the last but one and so on. An algorithm
    of another name is taken for ``KahnSort``. Workloads that depend on each other in a circle have
    no such order: then all stay in the order in which they are named.
    """
    refs, needs = _graph(spec)
    algorithm = spec.topology_sorting_algorithm
    found = _kahn(needs)
    if len(found) < len(needs):
        found = list(needs)
    elif _TARJAN in algorithm:
        found = _tarjan(needs)
    if algorithm.startswith(_REVERSE):
        found.reverse()
    elif algorithm.startswith(_ALTERNATE):
        half = (len(found) + 1) // 2
        found[::2], found[1::2] = found[:half], found[: half - 1 : -1]
    return tuple(refs[selector] for selector in found)


def _graph(
    spec: AppGroupSpec,
) -> tuple[dict[str, AppGroupWorkloadRef], dict[str, list[str]]]:
    """Return all workloads by selector, and whom each needs; what is only needed is one, too."""
    refs: dict[str, AppGroupWorkloadRef] = {}
    needs: dict[str, list[str]] = {}
    for each in spec.workloads or ():
        refs.setdefault(each.workload.selector, each.workload)
        needs.setdefault(each.workload.selector, [])
    for each in spec.workloads or ():
        own = each.workload.selector
        for dependency in each.dependencies or ():
            needed = dependency.workload.selector
            refs.setdefault(needed, dependency.workload)
            needs.setdefault(needed, [])
            if needed != own and needed not in needs[own]:
                needs[own].append(needed)
    return refs, needs


def _kahn(needs: dict[str, list[str]]) -> list[str]:
    """Sort; what is in a circle, or needed by it, is left out."""
    n_users = _users(needs)
    stack = _unneeded(needs, n_users=n_users)
    order: list[str] = []
    while stack:
        selector = stack.pop()
        order.append(selector)
        for needed in needs[selector]:
            n_users[needed] -= 1
            if not n_users[needed]:
                stack.append(needed)
    return order


def _tarjan(needs: dict[str, list[str]]) -> list[str]:
    """Sort where there is no circle, by going as deep as possible first."""
    done: dict[str, None] = {}
    for root in _unneeded(needs, n_users=_users(needs)):
        path = [(root, iter(needs[root]))]
        while path:
            selector, rest = path[-1]
            needed = next((each for each in rest if each not in done), None)
            if needed is None:
                done[selector] = None
                path.pop()
            else:
                path.append((needed, iter(needs[needed])))
    return list(reversed(done))


def _users(needs: dict[str, list[str]]) -> Counter[str]:
    return Counter(each for needed in needs.values() for each in needed)


def _unneeded(needs: dict[str, list[str]], *, n_users: Counter[str]) -> list[str]:
    """Return whom nobody depends on, the one named first last."""
    return [selector for selector in reversed(needs) if not n_users[selector]]
