"""What only pods have: binding to a node, and eviction within a disruption budget."""

from kube.instants import rfc3339
from scheduler.simulator.apiserver.bodies import check_options, is_dry_run, read_body
from scheduler.simulator.apiserver.deleting import Deleter, check_preconditions
from scheduler.simulator.apiserver.errors import (
    ApiError,
    BadRequestError,
    FieldError,
    NoSuchObjectError,
    StaleError,
    UnclassifiedError,
    required,
    unsupported,
)
from scheduler.simulator.apiserver.label_selectors import from_label_selector, matches_all
from scheduler.simulator.apiserver.requests import Request, Response, json_response
from scheduler.simulator.apiserver.routes import Target
from scheduler.simulator.apiserver.writing import stale_uid
from scheduler.simulator.resources import BINDINGS, NODES, PDBS, PODS, Object, Resource
from scheduler.simulator.store import Store

EVICTIONS = Resource(
    group="policy", version="v1", plural="evictions", singular="eviction", kind="Eviction"
)
_TOPOLOGY = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")
_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
_MAX_DISRUPTED = 2000
_RETRY_S = 10


class PodActions:
    """Binds and evicts pods.

    Args:
        store: Where objects are kept.
        deleter: Deletes what is evicted.
    """

    def __init__(self, store: Store, *, deleter: Deleter) -> None:
        self._store = store
        self._deleter = deleter

    def bind(self, target: Target, request: Request) -> Response:
        """``POST`` to a pod's ``/binding``, or of a Binding to a namespace.

        Raises:
            NoSuchObjectError: 404.
        """
        check_options(request, "CreateOptions")
        binding, _ = read_body(request, BINDINGS)
        _check_name(target, binding, "Binding")
        name = binding["metadata"].get("name", "")
        _check_binding(binding)
        pod = self._store.find(PODS, target.namespace, name)
        if pod is None:
            raise NoSuchObjectError(PODS, name)
        _check_bindable(pod, binding)
        if not is_dry_run(request):
            self._store.update(PODS, self._bound(pod, binding, target))
        return _success()

    def evict(self, target: Target, request: Request) -> Response:
        """``POST`` to a pod's ``/eviction``.

        Raises:
            NoSuchObjectError: 404.
        """
        check_options(request, "CreateOptions")
        eviction, _ = read_body(request, EVICTIONS)
        _check_name(target, eviction, "Eviction")
        pod = self._store.find(PODS, target.namespace, target.name)
        if pod is None:
            raise NoSuchObjectError(PODS, target.name)
        options = eviction.get("deleteOptions") or {}
        check_preconditions(PODS, pod, options)
        dry = is_dry_run(request) or "All" in (options.get("dryRun") or ())
        if not _ignores_budgets(pod):
            self._spend(pod, dry=dry)
        if not dry:
            self._store.update(PODS, self._marked(pod))
            where = Target(resource=PODS, namespace=target.namespace, name=target.name)
            self._deleter.remove(where, options)
        return _success()

    # --- details

    def _bound(self, pod: Object, binding: Object, target: Target) -> Object:
        meta, given, node = {**pod["metadata"]}, binding["metadata"], binding["target"]["name"]
        found = self._store.find(NODES, None, node)
        places = (found["metadata"].get("labels") or {}) if found else {}
        labels = {key: places[key] for key in _TOPOLOGY if key in places}
        if target.resource is not PODS:
            labels = {}  # admission looks at a pod's own binding only
        for field, more in (("labels", labels), ("annotations", {})):
            merged = {**(meta.get(field) or {}), **(given.get(field) or {}), **more}
            if merged:
                meta[field] = merged
        status = _with_condition(pod["status"], {"type": "PodScheduled"}, self._store.now_s())
        status.pop("nominatedNodeName", None)
        return {
            **pod,
            "metadata": meta,
            "spec": {**pod["spec"], "nodeName": node},
            "status": status,
        }

    def _marked(self, pod: Object) -> Object:
        condition = {
            "type": "DisruptionTarget",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        }
        status = _with_condition(pod["status"], condition, self._store.now_s())
        return {**pod, "status": status}

    def _spend(self, pod: Object, *, dry: bool) -> None:
        budgets = self._budgets(pod)
        if not budgets:
            return
        if len(budgets) > 1:
            raise UnclassifiedError(
                "This pod has more than one PodDisruptionBudget, "
                "which the eviction subresource does not support."
            )
        [budget] = budgets
        if not _is_ready(pod) and _spares_unready(budget):
            return
        _check_budget(budget)
        if not dry:
            status = _spent(budget["status"], pod["metadata"]["name"], self._store.now_s())
            self._store.update(PDBS, {**budget, "status": status})

    def _budgets(self, pod: Object) -> list[Object]:
        labels = pod["metadata"].get("labels")
        return [
            budget
            for budget in self._store.list(PDBS, pod["metadata"]["namespace"])
            if "selector" in budget["spec"]
            and matches_all(from_label_selector(budget["spec"]["selector"]), labels)
        ]


def _success() -> Response:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "code": 201,
    }
    return json_response(status, status=201)


def _check_name(target: Target, obj: Object, kind: str) -> None:
    given = obj["metadata"]
    if target.name and given.get("name") != target.name:
        raise BadRequestError(f"name in URL does not match name in {kind} object")
    if given.get("namespace", target.namespace) != target.namespace:
        raise BadRequestError(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def _check_binding(binding: Object) -> None:
    target = binding.get("target") or {}
    errors: list[FieldError] = []
    if target.get("kind", "") not in ("", "Node"):
        errors.append(unsupported("target.kind", target["kind"], ("Node", "<empty>")))
    if not target.get("name"):
        errors.append(required("target.name"))
    if errors:
        texts = [f"{error.field}: {error.message}" for error in errors]
        raise UnclassifiedError(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")


def _check_bindable(pod: Object, binding: Object) -> None:
    meta = pod["metadata"]
    given = binding["metadata"]
    uid = given.get("uid") or meta["uid"]
    if uid != meta["uid"]:
        raise StaleError(PODS, meta["name"], stale_uid(PODS, meta, uid))
    if given.get("resourceVersion", meta["resourceVersion"]) != meta["resourceVersion"]:
        raise StaleError(PODS, meta["name"])
    why = ""
    if "deletionTimestamp" in meta:
        why = f"pod {meta['name']} is being deleted, cannot be assigned to a host"
    elif pod["spec"].get("nodeName"):
        why = f'pod {meta["name"]} is already assigned to node "{pod["spec"]["nodeName"]}"'
    elif pod["spec"].get("schedulingGates"):
        why = f"pod {meta['name']} has non-empty .spec.schedulingGates"
    if why:
        message = f'Operation cannot be fulfilled on pods/binding "{meta["name"]}": {why}'
        details = {"name": meta["name"], "kind": "pods/binding"}
        raise ApiError(409, message, reason="Conflict", details=details)


def _with_condition(status: Object, condition: Object, now_s: float) -> Object:
    """Set a condition to true."""
    conditions = list(status.get("conditions") or ())
    places = [i for i, each in enumerate(conditions) if each["type"] == condition["type"]]
    changed_at = rfc3339(now_s)
    if places and conditions[places[0]].get("status") == "True":
        changed_at = conditions[places[0]].get("lastTransitionTime")
    full = {
        "type": condition["type"],
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": changed_at,
        **condition,
    }
    if places:
        conditions[places[0]] = full
    else:
        conditions.append(full)
    return {**status, "conditions": conditions}


def _ignores_budgets(pod: Object) -> bool:
    is_idle = pod["status"].get("phase") in ("Succeeded", "Failed", "Pending")
    return is_idle or "deletionTimestamp" in pod["metadata"]


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(each["type"] == "Ready" and each.get("status") == "True" for each in conditions)


def _spares_unready(budget: Object) -> bool:
    """Tell whether the budget lets pods go that are not ready anyway."""
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status: Object = budget["status"]
    needed: int = status.get("desiredHealthy", 0)
    healthy: int = status.get("currentHealthy", 0)
    return 0 < needed <= healthy


def _check_budget(budget: Object) -> None:
    name, status = budget["metadata"]["name"], budget["status"]
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        text = f"The disruption budget {name} is still being processed by the server."
        raise _too_many(text, retry_s=_RETRY_S)
    allowed = status.get("disruptionsAllowed", 0)
    too_many = len(status.get("disruptedPods") or ()) > _MAX_DISRUPTED
    if allowed < 0 or too_many:
        why = (
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
            if too_many
            else "pdb disruptions allowed is negative"
        )
        message = f'poddisruptionbudget.policy "{name}" is forbidden: {why}'
        details = {"name": name, "group": "policy", "kind": "poddisruptionbudget"}
        raise ApiError(403, message, reason="Forbidden", details=details)
    if allowed == 0:
        text = (
            f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods "
            f"and has {status.get('currentHealthy', 0)} currently"
        )
        raise _too_many(text, retry_s=0)


def _too_many(text: str, *, retry_s: int) -> ApiError:
    details: Object = {"causes": [{"reason": "DisruptionBudget", "message": text}]}
    headers: tuple[tuple[str, str], ...] = ()
    if retry_s:
        details["retryAfterSeconds"] = retry_s
        headers = (("Retry-After", str(retry_s)),)
    return ApiError(429, _REFUSED, reason="TooManyRequests", details=details, headers=headers)


def _spent(status: Object, name: str, now_s: float) -> Object:
    disrupted = {**(status.get("disruptedPods") or {}), name: rfc3339(now_s)}
    left = status["disruptionsAllowed"] - 1
    spent = {**status, "disruptionsAllowed": left, "disruptedPods": disrupted}
    return spent if left else {**spent, "conditions": _exhausted(status, rfc3339(now_s))}


def _exhausted(status: Object, now: str) -> list[Object]:
    """The conditions of a budget that allows nothing any more."""
    given = status.get("conditions") or ()
    condition = {
        "type": "DisruptionAllowed",
        "status": "False",
        "observedGeneration": status.get("observedGeneration", 0),
        "lastTransitionTime": now,
        "reason": "InsufficientPods",
        "message": "",
    }
    return [*(each for each in given if each["type"] != condition["type"]), condition]
