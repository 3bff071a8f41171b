"""Answers with stored objects: one, or a list of them, in the form asked for."""

from collections.abc import Sequence

import msgspec
import yaml

from scheduler.simulator.apiserver.conversion import from_stored
from scheduler.simulator.apiserver.errors import (
    FieldError,
    InvalidError,
    NoSuchObjectError,
    forbidden_field,
    unsupported,
)
from scheduler.simulator.apiserver.paging import (
    Page,
    check_not_ahead,
    parse_version,
    read_page,
)
from scheduler.simulator.apiserver.representations import Form, Representation, negotiate
from scheduler.simulator.apiserver.requests import Request, Response
from scheduler.simulator.apiserver.routes import Target
from scheduler.simulator.apiserver.selection import Selection
from scheduler.simulator.apiserver.tables import table_of
from scheduler.simulator.apiserver.texts import encode, list_text, object_text, partial_metadata
from scheduler.simulator.resources import Object, Resource
from scheduler.simulator.store import Store

_VERSIONS = ("Exact", "NotOlderThan", "")


class Reader:
    """Reads a store for clients.

    Args:
        store: Where objects are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, target: Target, request: Request) -> Response:
        """One object.

        Raises:
            NoSuchObjectError: 404.
        """
        representation = negotiate(request.accept)
        wanted = parse_version(request.query.get("resourceVersion", ""))
        check_not_ahead(wanted, version=self._store.version)
        entry = self._store.table(target.resource).entries.get(f"{target.namespace}/{target.name}")
        if entry is None:
            raise NoSuchObjectError(target.resource, target.name)
        if representation.form is Form.OBJECT and not representation.is_yaml:
            return Response(body=object_text(entry, target.resource))
        return self.answer(target.resource, entry.obj, request)

    def answer(
        self,
        resource: Resource,
        obj: Object,
        request: Request,
        *,
        status: int = 200,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Response:
        """A stored object in the form that the request accepts.

        Raises:
            ApiError: 406.
        """
        representation = negotiate(request.accept)
        shown = from_stored(resource, obj)
        if representation.form is Form.TABLE:
            version = obj["metadata"].get("resourceVersion", "")
            shown = self.table(resource, [obj], {"resourceVersion": version}, request)
        elif representation.form is not Form.OBJECT:
            shown = partial_metadata(obj)
        return written(shown, representation, status=status, headers=headers)

    def list(self, target: Target, request: Request) -> Response:
        """A collection, or a page of it.

        Raises:
            ApiError: The parameters make no sense, or the form cannot be given.
        """
        representation = negotiate(request.accept)
        check_list_options(request)
        selection = Selection.of(request, target.resource, target.namespace)
        page = read_page(
            self._store.table(target.resource), request, selection, version=self._store.version
        )
        return self._shown(target.resource, page, request, representation)

    def _shown(
        self, resource: Resource, page: Page, request: Request, representation: Representation
    ) -> Response:
        match representation.form:
            case Form.OBJECT:
                text = list_text(resource, page.metadata, page.entries)
                if not representation.is_yaml:
                    return Response(body=text)
                return written(msgspec.json.decode(text), representation)
            case Form.TABLE:
                objects = [entry.obj for entry in page.entries]
                table = self.table(resource, objects, page.metadata, request)
                return written(table, representation)
            case _:
                partial = {
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": page.metadata,
                    "items": [partial_metadata(entry.obj) for entry in page.entries],
                }
                return written(partial, representation)

    def table(
        self, resource: Resource, objects: Sequence[Object], metadata: Object, request: Request
    ) -> Object:
        """Stored objects as rows."""
        return table_of(
            resource,
            objects,
            metadata,
            include=request.query.get("includeObject", "Metadata"),
            now_s=self._store.now_s(),
        )


def written(
    obj: Object,
    representation: Representation,
    *,
    status: int = 200,
    headers: tuple[tuple[str, str], ...] = (),
) -> Response:
    """An object as an answer in JSON or YAML."""
    body = yaml.safe_dump(obj).encode() if representation.is_yaml else encode(obj)
    return Response(
        status=status, body=body, content_type=representation.content_type, headers=headers
    )


def check_list_options(request: Request) -> None:
    """Refuse list parameters that contradict each other.

    Raises:
        InvalidError: 422.
    """
    errors: list[FieldError] = []
    match = request.query.get("resourceVersionMatch", "")
    version = request.query.get("resourceVersion", "")
    at = "resourceVersionMatch"
    if match:
        if not version:
            detail = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            errors.append(forbidden_field(at, detail))
        if request.query.get("continue"):
            detail = "resourceVersionMatch is forbidden when continue is provided"
            errors.append(forbidden_field(at, detail))
        if match not in _VERSIONS:
            errors.append(unsupported(at, match, _VERSIONS))
        if match == "Exact" and version == "0":
            detail = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            errors.append(forbidden_field(at, detail))
    if "sendInitialEvents" in request.query:
        detail = "sendInitialEvents is forbidden for list"
        errors.append(forbidden_field("sendInitialEvents", detail))
    if errors:
        raise InvalidError("ListOptions", "meta.k8s.io", "", errors)
