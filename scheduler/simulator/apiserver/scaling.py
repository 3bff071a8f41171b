"""The ``/scale`` of workloads: replicas alone, in a form that all of them share."""

from scheduler.simulator.apiserver.bodies import check_options, read_body
from scheduler.simulator.apiserver.container_validation import NOT_NEGATIVE
from scheduler.simulator.apiserver.errors import BadRequestError, InvalidError, invalid_value
from scheduler.simulator.apiserver.label_selectors import from_label_selector
from scheduler.simulator.apiserver.patching import read_patched
from scheduler.simulator.apiserver.requests import Request, Response, json_response
from scheduler.simulator.apiserver.routes import Target
from scheduler.simulator.apiserver.writing import Writer
from scheduler.simulator.resources import Object, Resource

SCALES = Resource(
    group="autoscaling", version="v1", plural="scales", singular="scale", kind="Scale"
)


def read_scale(obj: Object) -> Response:
    """``GET``: a workload as a Scale."""
    return json_response(_scale_of(obj))


def write_scale(target: Target, request: Request, old: Object, writer: Writer) -> Response:
    """``PUT`` or ``PATCH``: set a workload's replicas.

    Raises:
        ApiError: The scale is not as it must be.
        BadRequestError: Its name is another.
        InvalidError: The number is negative.
    """
    check_options(request, "UpdateOptions" if request.method == "PUT" else "PatchOptions")
    if request.method == "PUT":
        scale, _ = read_body(request, SCALES)
    else:
        scale, _ = read_patched(request, SCALES, _scale_of(old))
    meta = scale["metadata"]
    if meta.get("name", target.name) != target.name:
        raise BadRequestError(
            f"the name of the object ({meta['name']}) does not match "
            f"the name on the URL ({target.name})"
        )
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        error = invalid_value("spec.replicas", replicas, NOT_NEGATIVE)
        raise InvalidError("Scale", "autoscaling", target.name, [error])
    version = meta.get("resourceVersion")

    def alter(obj: Object) -> Object:
        known = {"resourceVersion": version} if version else {}
        return {
            **obj,
            "metadata": {**obj["metadata"], **known},
            "spec": {**obj["spec"], "replicas": replicas},
        }

    main = Target(resource=target.resource, namespace=target.namespace, name=target.name)
    return json_response(_scale_of(writer.change(main, request, alter)))


def _scale_of(obj: Object) -> Object:
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = obj["spec"].get("replicas", 1)
    status: Object = {"replicas": (obj.get("status") or {}).get("replicas", 0)}
    selector = _selector_text(obj["spec"].get("selector") or {})
    if selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: obj["metadata"][key] for key in kept if key in obj["metadata"]},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _selector_text(selector: Object) -> str:
    texts: list[str] = []
    for requirement in sorted(from_label_selector(selector), key=lambda each: each.key):
        key, values = requirement.key, ",".join(sorted(requirement.values))
        is_equality = requirement.operator == "in" and len(requirement.values) == 1
        words = {"exists": key, "!": f"!{key}", "in": f"{key} in ({values})"}
        words["notin"] = f"{key} notin ({values})"
        texts.append(f"{key}={values}" if is_equality else words[requirement.operator])
    return ",".join(texts)
