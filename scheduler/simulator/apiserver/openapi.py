"""OpenAPI v3, enough for kubectl: types of fields, and which writes are validated."""

import hashlib

import msgspec

from scheduler.simulator.apiserver.requests import Response, json_response
from scheduler.simulator.apiserver.routes import Registry
from scheduler.simulator.apiserver.schema import tables, type_name
from scheduler.simulator.resources import Object, Resource

_SCALARS: dict[str, Object] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "float64": {"type": "number", "format": "double"},
    "Quantity": {"type": "string"},
    "Time": {"type": "string", "format": "date-time"},
    "MicroTime": {"type": "string", "format": "date-time"},
    "any": {"x-kubernetes-preserve-unknown-fields": True},
}
_WRITE_PARAMETERS = [
    {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for name in ("dryRun", "fieldManager", "fieldValidation")
]
_PREFIX = "#/components/schemas/"


class OpenApi:
    """Describes what a registry serves, a document a group version.

    Args:
        registry: The resources there are now.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def index(self) -> Response:
        """``/openapi/v3``: where the documents are."""
        paths: Object = {}
        for group, versions in self._registry.versions().items():
            for version in versions:
                name = f"apis/{group}/{version}" if group else f"api/{version}"
                text = msgspec.json.encode(self._document(group, version))
                digest = hashlib.sha512(text).hexdigest().upper()
                paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"}
        response = json_response({"paths": paths})
        response.content_type = "text/plain; charset=utf-8"
        return response

    def document(self, path: str) -> Response | None:
        """``/openapi/v3/apis/…``: one document; None when there is no such group version."""
        match path.removeprefix("/openapi/v3/").strip("/").split("/"):
            case ["api", version]:
                group = ""
            case ["apis", group, version]:
                pass
            case _:
                return None
        if not self._registry.in_version(group, version):
            return None
        return json_response(self._document(group, version))

    def _document(self, group: str, version: str) -> Object:
        found = self._registry.in_version(group, version)
        paths: Object = {}
        schemas: Object = {}
        for resource in found:
            paths |= _paths(resource)
            schemas[_schema_name(resource)] = _schema(resource, schemas)
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "v1.36.0"},
            "paths": paths,
            "components": {"schemas": schemas},
        }


def _gvk(resource: Resource) -> Object:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _paths(resource: Resource) -> Object:
    base = f"/apis/{resource.group}" if resource.group else "/api"
    base += f"/{resource.version}"
    if resource.is_namespaced:
        base += "/namespaces/{namespace}"
    content = {"schema": {"$ref": _PREFIX + _schema_name(resource)}}
    reply = {"200": {"description": "OK", "content": {"application/json": content}}}

    def operation(action: str) -> Object:
        described: Object = {"responses": reply, "x-kubernetes-action": action}
        described["x-kubernetes-group-version-kind"] = _gvk(resource)
        if action in ("post", "put", "patch"):
            described["parameters"] = _WRITE_PARAMETERS
        return described

    collection = {"get": operation("list"), "post": operation("post")}
    single = {name: operation(name) for name in ("get", "put", "patch", "delete")}
    return {
        f"{base}/{resource.plural}": collection,
        f"{base}/{resource.plural}/{{name}}": single,
    }


def _schema_name(resource: Resource) -> str:
    group = (resource.group or "core").removesuffix(".k8s.io").replace("-", "_")
    return f"io.k8s.api.{group}.{resource.version}.{resource.kind}"


def _schema(resource: Resource, schemas: Object) -> Object:
    name = type_name(resource)
    body: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    if name in tables() and not resource.is_custom:
        body = _struct(name, schemas)
    return body | {"x-kubernetes-group-version-kind": [_gvk(resource)]}


def _struct(name: str, schemas: Object) -> Object:
    properties = {
        key: _property(kind.rstrip("!?"), schemas) for key, kind in tables()[name].items()
    }
    return {"type": "object", "properties": properties}


def _property(kind: str, schemas: Object) -> Object:
    if kind.startswith("["):
        return {"type": "array", "items": _property(kind[1:-1], schemas)}
    if kind.startswith("{"):
        return {"type": "object", "additionalProperties": _property(kind[1:-1], schemas)}
    if kind in _SCALARS:
        return _SCALARS[kind]
    name = f"io.k8s.api.{kind}"
    if name not in schemas:
        schemas[name] = {}  # so that a type that refers to itself ends
        schemas[name] = _struct(kind, schemas)
    return {"allOf": [{"$ref": _PREFIX + name}]}
