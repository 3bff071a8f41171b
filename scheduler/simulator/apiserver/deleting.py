"""Deletion: options, preconditions, grace, finalizers, and whole collections."""

from typing import Any

import msgspec

from scheduler.simulator.apiserver.bodies import check_options, decode_body, is_dry_run
from scheduler.simulator.apiserver.conversion import stored_resource
from scheduler.simulator.apiserver.errors import (
    BadRequestError,
    FieldError,
    InvalidError,
    NoSuchObjectError,
    NotPermittedError,
    StaleError,
    UnmetPreconditionError,
    invalid_value,
    unsupported,
)
from scheduler.simulator.apiserver.reading import Reader, check_list_options
from scheduler.simulator.apiserver.requests import Request, Response, json_response
from scheduler.simulator.apiserver.routes import Target
from scheduler.simulator.apiserver.schema import DecodeError, read_as
from scheduler.simulator.apiserver.selection import Selection
from scheduler.simulator.apiserver.texts import list_text
from scheduler.simulator.resources import NAMESPACES, Object, Resource
from scheduler.simulator.store import ConflictError, Store

_IMMORTAL = ("default", "kube-public", "kube-system")
_POLICIES = ("Foreground", "Background", "Orphan", "nil")
_FINALIZERS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}


class Deleter:
    """Deletes objects for clients.

    Args:
        store: Where objects are kept.
        reader: Writes what was deleted.
    """

    def __init__(self, store: Store, *, reader: Reader) -> None:
        self._store = store
        self._reader = reader

    def delete(self, target: Target, request: Request) -> Response:
        """``DELETE`` of one object.

        Raises:
            NoSuchObjectError: 404.
            NotPermittedError: 403: a namespace that the cluster cannot do without.
        """
        options = read_delete_options(request)
        resource = target.resource
        obj = self._store.find(resource, target.namespace, target.name)
        if obj is None:
            raise NoSuchObjectError(resource, target.name)
        check_preconditions(resource, obj, options)
        if resource is NAMESPACES and target.name in _IMMORTAL:
            raise NotPermittedError(resource, target.name, "this namespace may not be deleted")
        dry = is_dry_run(request) or "All" in (options.get("dryRun") or ())
        final = obj if dry else self.remove(target, options)
        is_gone = dry or self._store.find(resource, target.namespace, target.name) is None
        waits = options.get("orphanDependents") is False or (
            options.get("propagationPolicy") == "Foreground"
        )
        status = 202 if waits and not is_gone else 200
        if is_gone and not resource.returns_deleted:
            return json_response(_deleted(resource, final), status=status)
        return self._reader.answer(resource, final, request, status=status)

    def remove(self, target: Target, options: Object) -> Object:
        """Delete by already checked options; answer the object's last state.

        Raises:
            StaleError: 409: a namespace is on its way already.
        """
        try:
            return self._store.delete(
                stored_resource(target.resource),
                target.namespace,
                target.name,
                grace_period_s=options.get("gracePeriodSeconds"),
                finalizer=_finalizer(options),
            )
        except ConflictError as error:
            raise StaleError(target.resource, target.name, error.message) from error

    def delete_collection(self, target: Target, request: Request) -> Response:
        """``DELETE`` of all selected objects; answers with the list of them.

        Raises:
            ApiError: The parameters make no sense.
        """
        options = read_delete_options(request)
        check_list_options(request)
        resource = target.resource
        selection = Selection.of(request, resource, target.namespace)
        table = self._store.table(resource)
        entries = [
            entry
            for entry in table.select(selection.namespace)
            if selection.admits_object(entry.obj)
        ]
        for entry in entries if not is_dry_run(request) else ():
            meta = entry.obj["metadata"]
            one = Target(resource=resource, namespace=meta.get("namespace", ""), name=meta["name"])
            # What watched an earlier deletion may have removed this one, too.
            if self._store.find(resource, one.namespace, one.name) is not None:
                self.remove(one, options)
        return Response(
            body=list_text(resource, {"resourceVersion": str(self._store.version)}, entries)
        )


def read_delete_options(request: Request) -> Object:
    """The options of a deletion, from the body and the parameters.

    Raises:
        ApiError: 400, 415 or 422.
    """
    check_options(request, "DeleteOptions")
    options: Object = {}
    if request.body.strip():
        options = _read_options(decode_body(request, "DeleteOptions"))
    for name in ("gracePeriodSeconds",):
        number = request.number(name)
        if number is not None:
            options.setdefault(name, number)
    if "propagationPolicy" in request.query:
        options.setdefault("propagationPolicy", request.query["propagationPolicy"])
    if "orphanDependents" in request.query:
        options.setdefault("orphanDependents", request.flag("orphanDependents"))
    _check_policy(options)
    return options


def _read_options(given: Any) -> Object:
    if not isinstance(given, dict):
        raise BadRequestError("json: cannot unmarshal array into Go value of type v1.DeleteOptions")
    if given.get("kind", "DeleteOptions") != "DeleteOptions":
        shown = msgspec.json.encode(given).decode()
        raise BadRequestError(f"decoded object cannot be converted to DeleteOptions: {shown}")
    try:
        options, _ = read_as("DeleteOptions", given)
    except DecodeError as error:
        raise BadRequestError(
            f'DeleteOptions in version "v1" cannot be handled as a DeleteOptions: {error}'
        ) from error
    return options


def _check_policy(options: Object) -> None:
    errors: list[FieldError] = []
    policy = options.get("propagationPolicy")
    if policy is not None and "orphanDependents" in options:
        detail = "orphanDependents and deletionPropagation cannot be both set"
        errors.append(invalid_value("propagationPolicy", policy, detail))
    elif policy is not None and policy not in _POLICIES[:3]:
        errors.append(unsupported("propagationPolicy", policy, _POLICIES))
    if any(each != "All" for each in options.get("dryRun") or ()):
        errors.append(unsupported("dryRun", options["dryRun"], ("All",)))
    if errors:
        raise InvalidError("DeleteOptions", "meta.k8s.io", "", errors)


def check_preconditions(resource: Resource, obj: Object, options: Object) -> None:
    """Refuse a deletion that is meant for another object or version.

    Raises:
        UnmetPreconditionError: 409.
    """
    wanted, meta = options.get("preconditions") or {}, obj["metadata"]
    if wanted.get("uid", meta["uid"]) != meta["uid"]:
        why = (
            f"the UID in the precondition ({wanted['uid']}) does not match the UID in record "
            f"({meta['uid']}). The object might have been deleted and then recreated"
        )
        raise UnmetPreconditionError(resource, meta["name"], why)
    if wanted.get("resourceVersion", meta["resourceVersion"]) != meta["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({wanted['resourceVersion']}) does not "
            f"match the ResourceVersion in record ({meta['resourceVersion']}). "
            "The object might have been modified"
        )
        raise UnmetPreconditionError(resource, meta["name"], why)


def _finalizer(options: Object) -> str | None:
    if options.get("orphanDependents"):
        return _FINALIZERS["Orphan"]
    return _FINALIZERS.get(options.get("propagationPolicy") or "")


def _deleted(resource: Resource, obj: Object) -> Object:
    meta = obj["metadata"]
    details = {"name": meta["name"], "kind": resource.plural, "uid": meta["uid"]}
    if resource.group:
        details["group"] = resource.group
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }
