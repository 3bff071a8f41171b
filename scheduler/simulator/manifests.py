"""Objects from files, created as a client would before the first client comes."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import yaml

from kube.edge.settings import SettingsError
from scheduler.simulator.apiserver.dispatch import Dispatcher
from scheduler.simulator.apiserver.errors import ApiError
from scheduler.simulator.apiserver.requests import Request, Response
from scheduler.simulator.resources import Object, Resource

_OPTIONS = {"fieldValidation": "Strict", "fieldManager": "manifests"}


def load_manifests(paths: Iterable[Path], *, dispatcher: Dispatcher) -> int:
    """Create all objects of some YAML or JSON files, in their order; say how many there were.

    Args:
        paths: Files, or folders whose ``*.yaml``, ``*.yml`` and ``*.json`` are read by name.
        dispatcher: Takes the requests.

    Raises:
        SettingsError: A file cannot be read, or the server refuses an object of it.
    """
    n_created = 0
    for path in _files(paths):
        for obj in _objects(path):
            _create(obj, path=path, dispatcher=dispatcher)
            n_created += 1
    return n_created


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            kinds = (".yaml", ".yml", ".json")
            yield from sorted(each for each in path.iterdir() if each.suffix in kinds)
        else:
            yield path


def _objects(path: Path) -> Iterator[Object]:
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is no YAML: {error}") from error
    for document in documents:
        is_list = isinstance(document, dict) and document.get("kind") == "List"
        for obj in (document.get("items") or ()) if is_list else (document,):
            if isinstance(obj, dict):
                yield obj
            elif obj is not None:
                raise SettingsError(f"{path}: a document is no object")


def _create(obj: Object, *, path: Path, dispatcher: Dispatcher) -> None:
    kind, version = obj.get("kind", ""), obj.get("apiVersion", "")
    meta = obj.get("metadata") or {}
    resource = dispatcher.resource_of(kind, api_version=version)
    if resource is None:
        raise SettingsError(f'{path}: no kind "{kind}" is served in version "{version}"')
    request = Request(
        method="POST",
        path=_collection(resource, namespace=meta.get("namespace") or "default"),
        query=_OPTIONS,
        content_type="application/json",
        body=msgspec.json.encode(obj),
    )
    try:
        answer = dispatcher.answer(request)
    except ApiError as error:
        raise SettingsError(f"{path}: {kind} {meta.get('name', '')}: {error}") from error
    if not isinstance(answer, Response) or answer.status != 201:
        raise SettingsError(f"{path}: {kind} cannot be created")


def _collection(resource: Resource, *, namespace: str) -> str:
    root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
    scope = f"/namespaces/{namespace}" if resource.is_namespaced else ""
    return f"{root}{scope}/{resource.plural}"
