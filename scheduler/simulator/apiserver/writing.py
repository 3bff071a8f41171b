"""Creating and changing objects: every check between a request and the store."""

from collections.abc import Callable
from dataclasses import dataclass

from scheduler.simulator import resources as r
from scheduler.simulator.apiserver import patch as patches
from scheduler.simulator.apiserver.bodies import (
    check_options,
    decode_body,
    is_dry_run,
    read_body,
    read_object_of,
)
from scheduler.simulator.apiserver.conversion import from_stored, stored_resource, to_stored
from scheduler.simulator.apiserver.errors import (
    ApiError,
    BadRequestError,
    InvalidError,
    NameTakenError,
    NoSuchObjectError,
    NotPermittedError,
    StaleError,
    UnclassifiedError,
    about,
    invalid_value,
)
from scheduler.simulator.apiserver.managed_fields import manager_of, record_write
from scheduler.simulator.apiserver.patching import APPLY, patch_type, read_patched
from scheduler.simulator.apiserver.requests import Request
from scheduler.simulator.apiserver.routes import Target
from scheduler.simulator.apiserver.schema import type_name
from scheduler.simulator.apiserver.validation import check_changed, check_new, refuse_if_wrong
from scheduler.simulator.defaults import ForbiddenError, complete, complete_update
from scheduler.simulator.pod_defaults import with_outage_tolerations, with_pod_ips
from scheduler.simulator.resources import Object, Resource
from scheduler.simulator.store import AlreadyExistsError, ConflictError, NotFoundError, Store

_KEEPS_STATUS = frozenset({r.NODES.table, r.CUSTOM_RESOURCE_DEFINITIONS.table})
"""Kinds whose creator may give their status."""
_CREATED_BY_PUT = frozenset(
    each.table
    for each in (r.LEASES, r.EVENTS, r.SERVICES, r.ENDPOINTS, r.LIMIT_RANGES, r.PRIORITY_CLASSES)
)
_VERSION_REQUIRED = frozenset(
    each.table for each in (r.LEASES, r.PDBS, r.CSI_NODES, r.CUSTOM_RESOURCE_DEFINITIONS)
)
"""Kinds that are not replaced without saying which version is meant."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a write led to."""

    obj: Object
    status: int = 200
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Intent:
    """What is to become of an object, and on whose behalf."""

    target: Target
    request: Request
    operation: str = "Update"

    @property
    def manager(self) -> str:
        return self.request.query.get("fieldManager") or manager_of(self.request.user_agent)


class Writer:
    """Applies the writes of clients to a store.

    Args:
        store: Where objects are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, target: Target, request: Request) -> Written:
        """``POST`` of a new object.

        Raises:
            ApiError: It may not be created.
        """
        check_options(request, "CreateOptions")
        obj, warnings = read_body(request, target.resource)
        return self._create(_Intent(target=target, request=request), obj, warnings)

    def update(self, target: Target, request: Request) -> Written:
        """``PUT`` of a whole object, or of its status.

        Raises:
            NoSuchObjectError: 404.
            StaleError: 409: it names another object by uid, or one that is gone.
        """
        check_options(request, "UpdateOptions")
        obj, warnings = read_body(request, target.resource)
        _check_address(target, obj)
        intent = _Intent(target=target, request=request)
        old = self._find(target)
        if old is None:
            if target.resource.table not in _CREATED_BY_PUT or target.subresource:
                raise NoSuchObjectError(target.resource, target.name)
            if given := obj["metadata"].get("uid"):
                # What was replaced is gone: nothing has no uid, and this names one.
                nothing = {**obj["metadata"], "uid": ""}
                why = stale_uid(target.resource, nothing, given)
                raise StaleError(target.resource, target.name, why)
            return self._create(intent, obj, warnings)
        return Written(self._change(intent, old, obj), warnings=warnings)

    def patch(self, target: Target, request: Request) -> Written:
        """``PATCH`` by any of the four kinds of patch.

        Raises:
            NoSuchObjectError: 404.
        """
        kind = patch_type(request, target.resource)
        check_options(request, "PatchOptions")
        old = self._find(target)
        if kind == APPLY:
            return self._apply(target, request, old)
        if old is None:
            raise NoSuchObjectError(target.resource, target.name)
        shown = from_stored(target.resource, old)
        obj, warnings = read_patched(request, target.resource, shown)
        _check_address(target, obj)
        intent = _Intent(target=target, request=request)
        return Written(self._change(intent, old, obj), warnings=warnings)

    def change(self, target: Target, request: Request, alter: Callable[[Object], Object]) -> Object:
        """Change a stored object for a subresource that has a form of its own.

        Raises:
            NoSuchObjectError: 404.
        """
        old = self._find(target)
        if old is None:
            raise NoSuchObjectError(target.resource, target.name)
        return self._change(_Intent(target=target, request=request), old, alter(old))

    # --- details

    def _find(self, target: Target) -> Object | None:
        return self._store.find(target.resource, target.namespace, target.name)

    def _apply(self, target: Target, request: Request, old: Object | None) -> Written:
        given = decode_body(_as_yaml(request), target.resource.kind)
        if not isinstance(given, dict):
            raise BadRequestError("error decoding YAML: not an object")
        obj, warnings = read_object_of(request, target.resource, given)
        _check_address(target, obj)
        intent = _Intent(target=target, request=request, operation="Apply")
        if old is None:
            return self._create(intent, obj, warnings)
        shown = from_stored(target.resource, old)
        if target.resource.is_custom:
            merged = patches.json_merge(shown, obj)
        else:
            merged = patches.strategic_merge(shown, obj, type_name=type_name(target.resource))
        return Written(self._change(intent, old, merged), warnings=warnings)

    def _create(self, intent: _Intent, obj: Object, warnings: tuple[str, ...]) -> Written:
        target, resource = intent.target, intent.target.resource
        meta = obj["metadata"]
        if meta.get("resourceVersion"):
            raise UnclassifiedError("resourceVersion should not be set on objects to be created")
        meta = {**meta, **self._namespace_of(target, meta)}
        obj = to_stored(resource, {**obj, "metadata": meta})
        if resource.table not in _KEEPS_STATUS and resource.has_subresource("status"):
            obj.pop("status", None)
        stored_as = stored_resource(resource)
        try:
            obj = complete(stored_as, obj, among=self._store)
        except ForbiddenError as error:
            raise NotPermittedError(resource, meta.get("name", ""), str(error)) from error
        obj = {**obj, "metadata": self._store.new_metadata(stored_as, obj)}
        check_new(stored_as, obj)
        obj = self._recorded(intent, None, obj)
        if is_dry_run(intent.request):
            self._check_free(target, obj)
            kept = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
            return Written({**obj, "metadata": kept}, 201, warnings)
        try:
            return Written(self._store.add(stored_as, obj), 201, warnings)
        except AlreadyExistsError as error:
            raise NameTakenError(resource, error.name) from error

    def _check_free(self, target: Target, obj: Object) -> None:
        meta = obj["metadata"]
        if self._store.find(target.resource, meta.get("namespace"), meta["name"]) is not None:
            raise NameTakenError(target.resource, meta["name"])

    def _namespace_of(self, target: Target, meta: Object) -> Object:
        if not target.resource.is_namespaced:
            return {}
        _check_namespace(target, meta)
        found = self._store.find(r.NAMESPACES, None, target.namespace)
        if found is None:
            raise NoSuchObjectError(r.NAMESPACES, target.namespace)
        if "deletionTimestamp" in found["metadata"]:
            raise _terminating(target.resource, target.namespace, meta.get("name", ""))
        return {"namespace": target.namespace}

    def _change(self, intent: _Intent, old: Object, obj: Object) -> Object:
        target, resource = intent.target, stored_resource(intent.target.resource)
        if (resource.table in _VERSION_REQUIRED or resource.is_custom) and not obj["metadata"].get(
            "resourceVersion"
        ):
            shown = target.resource
            error = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise InvalidError(shown.plural, shown.group, target.name, [error])
        new = _prepared(target, old, to_stored(target.resource, obj))
        self._check_version(intent, old, new)
        check_changed(resource, old=old, new=new)
        new = self._recorded(intent, old, new)
        if is_dry_run(intent.request):
            return {**new, "metadata": {**old["metadata"], **new["metadata"]}}
        try:
            return self._store.update(resource, new)
        except NotFoundError as error:
            raise NoSuchObjectError(target.resource, target.name) from error
        except ConflictError as error:
            raise StaleError(target.resource, target.name, *_reasons(error.message)) from error

    def _check_version(self, intent: _Intent, old: Object, new: Object) -> None:
        target, given, current = intent.target, new["metadata"], old["metadata"]
        is_other = given.get("uid", current["uid"]) != current["uid"]
        if is_other and intent.request.method == "PUT":
            why = stale_uid(target.resource, current, given["uid"])
            raise StaleError(target.resource, target.name, why)
        version = given.get("resourceVersion", current["resourceVersion"])
        if not (version.isascii() and version.isdigit()):
            raise UnclassifiedError(f'strconv.ParseUint: parsing "{version}": invalid syntax')
        if version != current["resourceVersion"]:
            raise StaleError(target.resource, target.name)
        if is_other:
            error = invalid_value("metadata.uid", given["uid"], "field is immutable")
            refuse_if_wrong(target.resource, new, [error])

    def _recorded(self, intent: _Intent, old: Object | None, new: Object) -> Object:
        if old is not None and _without_bookkeeping(old) == _without_bookkeeping(new):
            fields = old["metadata"].get("managedFields")
            kept = {"managedFields": fields} if fields else {}
            return {**new, "metadata": {**new["metadata"], **kept}}
        return record_write(
            intent.target.resource,
            old=None if old is None else from_stored(intent.target.resource, old),
            new=new,
            manager=intent.manager,
            subresource=intent.target.subresource,
            now_s=self._store.now_s(),
            operation=intent.operation,
        )


def stale_uid(resource: Resource, current: Object, given: str) -> str:
    """Why a write for another object of the same name is refused, in etcd's words."""
    place = f"{current['namespace']}/" if "namespace" in current else ""
    plural = {"nodes": "minions", "services": "services/specs"}.get(
        resource.plural, resource.plural
    )
    return (
        f"StorageError: invalid object, Code: 4, Key: /registry/{plural}/{place}"
        f"{current['name']}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: "
        f"UID in precondition: {given}, UID in object meta: {current['uid']}"
    )


def _reasons(message: str) -> tuple[str, ...]:
    return (message,) if message else ()


def _terminating(resource: Resource, namespace: str, name: str) -> ApiError:
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    error = NotPermittedError(resource, name, why)
    error.status["details"] = about(resource, name, causes=[cause])
    return error


def _check_namespace(target: Target, meta: Object) -> None:
    if target.namespace and (meta.get("namespace") or target.namespace) != target.namespace:
        raise BadRequestError(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def _check_address(target: Target, obj: Object) -> None:
    meta = obj["metadata"]
    _check_namespace(target, meta)
    if not meta.get("name"):
        raise BadRequestError(
            f"the name of the object ({target.name} based on URL) was undeterminable: "
            "name must be provided"
        )
    if meta["name"] != target.name:
        raise BadRequestError(
            f"the name of the object ({meta['name']}) does not match "
            f"the name on the URL ({target.name})"
        )


def _prepared(target: Target, old: Object, obj: Object) -> Object:
    """Keep what this address may not change, and fill in defaults."""
    resource = stored_resource(target.resource)
    meta = {**obj["metadata"]}
    if resource.is_namespaced:
        meta["namespace"] = target.namespace
    obj = {**obj, "kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
    if target.subresource == "status":
        meta["ownerReferences"] = old["metadata"].get("ownerReferences")
        kept = {key: value for key, value in old.items() if key not in ("metadata", "status")}
        if resource is r.PODS:
            # The class of service is given at creation, whether or not a writer repeats it.
            given = {"qosClass": old["status"]["qosClass"]} | (obj.get("status") or {})
            obj["status"] = with_pod_ips(given)
        result = {**kept, "metadata": meta}
        return {**result, "status": obj["status"]} if "status" in obj else result
    if resource.has_subresource("status"):
        obj.pop("status", None)
        if "status" in old:
            obj["status"] = old["status"]
    if resource is r.NAMESPACES and not target.subresource:
        return {**obj, "spec": old["spec"]}
    if resource is r.PODS:
        return complete_update(resource, {**obj, "spec": _admitted(obj.get("spec") or {}, old)})
    return complete_update(resource, obj)


def _admitted(spec: Object, old: Object) -> Object:
    """A replaced pod's spec with what admission had filled in."""
    kept = ("priority", "preemptionPolicy")
    filled = {key: old["spec"][key] for key in kept if key in old["spec"]}
    tolerations = with_outage_tolerations(spec.get("tolerations") or ())
    return {**filled, **spec, "tolerations": tolerations}


def _without_bookkeeping(obj: Object) -> Object:
    ignored = ("managedFields", "resourceVersion", "generation")
    meta = {key: value for key, value in obj["metadata"].items() if key not in ignored and value}
    return {**obj, "metadata": meta}


def _as_yaml(request: Request) -> Request:
    return Request(
        method=request.method,
        path=request.path,
        query=request.query,
        content_type="application/yaml",
        body=request.body,
    )
