"""What a pod asks for, read from its spec as anybody may have written it. Pure."""

from dataclasses import dataclass, field
from typing import Any, Final

from kube.edge.problems import ProblemError
from kube.quantity import CPU, MEMORY, QuantityError, effective_requests, parse_amount
from predictor.contract import ContainerResources, PodContainer, PodSpec, Quantities

MAX_AMOUNT: Final = {CPU: 10**9, MEMORY: 2**60}
"""A million cores, and an exbibyte: more is a slip of the pen."""


@dataclass(frozen=True, slots=True)
class _Container:
    """A container as ``effective_requests`` wants it."""

    requests: dict[str, int] = field(default_factory=dict)
    is_sidecar: bool = False


def pod_requests(spec: PodSpec) -> tuple[int, int]:
    """Sum up what a pod requests.

    Returns:
        cpu in millicores and memory in bytes.

    Raises:
        ProblemError: 422, naming the field that holds no usable quantity.
    """
    amounts = effective_requests(
        _containers(spec.containers, path="pod_spec.containers"),
        init_containers=_containers(spec.init_containers or [], path="pod_spec.initContainers"),
        pod_level=_requests(spec.resources, path="pod_spec.resources"),
        overhead=_amounts(spec.overhead or {}, path="pod_spec.overhead"),
    )
    for resource, limit in MAX_AMOUNT.items():
        if amounts.get(resource, 0) > limit:
            raise ProblemError(
                422,
                "Invalid request",
                detail=f"in all, the pod asks for more {resource} than any node has",
                field="pod_spec",
            )
    return amounts.get(CPU, 0), amounts.get(MEMORY, 0)


def _containers(containers: list[PodContainer], *, path: str) -> list[_Container]:
    return [
        _Container(
            requests=_requests(container.resources, path=f"{path}[{i}].resources"),
            is_sidecar=container.restart_policy == "Always",
        )
        for i, container in enumerate(containers)
    ]


def _requests(resources: ContainerResources | None, *, path: str) -> dict[str, int]:
    """Read requests; as in the API server, a limit without a request is a request too."""
    if resources is None:
        return {}
    limits = _amounts(resources.limits or {}, path=f"{path}.limits")
    return limits | _amounts(resources.requests or {}, path=f"{path}.requests")


def _amounts(quantities: Quantities, *, path: str) -> dict[str, int]:
    return {
        resource: _amount(resource, quantity=quantity, path=f"{path}.{resource}")
        for resource, quantity in quantities.items()
    }


def _amount(resource: str, *, quantity: Any, path: str) -> int:
    if isinstance(quantity, bool) or not isinstance(quantity, str | int | float):
        raise _refusal("a quantity is a text or a number", path=path)
    try:
        amount = parse_amount(resource, str(quantity))
    except QuantityError as error:
        raise _refusal(str(error), path=path) from error
    if amount < 0:
        raise _refusal(f"{quantity!r} is negative", path=path)
    if amount > MAX_AMOUNT.get(resource, 2**62):
        raise _refusal(f"{str(quantity)[:64]!r} is more than any node has", path=path)
    return amount


def _refusal(detail: str, *, path: str) -> ProblemError:
    return ProblemError(422, "Invalid request", detail=detail, field=path)
