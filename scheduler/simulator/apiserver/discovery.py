"""Discovery: which groups, versions and resources there are, one by one or all in one answer."""

from scheduler.simulator.apiserver.requests import Request, Response, json_response
from scheduler.simulator.apiserver.routes import Registry
from scheduler.simulator.resources import Object, Resource, Subresource

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
VERSION: Object = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.0",
    "gitCommit": "0" * 40,
    "gitTreeState": "clean",
    "buildDate": "2026-04-22T00:00:00Z",
    "goVersion": "go1.26.2",
    "compiler": "gc",
    "platform": "linux/amd64",
}
"""What ``/version`` says: the release whose behaviour is simulated."""


class Discovery:
    """Describes what a registry serves.

    Args:
        registry: The resources there are now.
        address: Where clients are told to call.
    """

    def __init__(self, registry: Registry, *, address: str) -> None:
        self._registry = registry
        self._address = address

    def answer(self, request: Request) -> Response | None:
        """The answer to a discovery address; None when it is no such address or not served."""
        parts = request.path.strip("/").split("/")
        match parts:
            case ["api" | "apis" as root]:
                return self._overview(root, is_aggregated=_wants_aggregated(request))
            case ["api", version]:
                return self._resources("", version)
            case ["apis", group]:
                return self._group(group)
            case ["apis", group, version]:
                return self._resources(group, version)
            case _:
                return None

    def _overview(self, root: str, *, is_aggregated: bool) -> Response:
        groups = [group for group in self._registry.versions() if bool(group) is (root == "apis")]
        if is_aggregated:
            return self._aggregated(groups)
        return json_response(self._core_versions() if root == "api" else self._groups())

    def _core_versions(self) -> Object:
        server = {"clientCIDR": "0.0.0.0/0", "serverAddress": self._address}
        return {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [server],
        }

    def _groups(self) -> Object:
        groups = [
            _described(group, versions)
            for group, versions in self._registry.versions().items()
            if group
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _group(self, group: str) -> Response | None:
        versions = self._registry.versions().get(group)
        if not group or not versions:
            return None
        head = {"kind": "APIGroup", "apiVersion": "v1"}
        return json_response(head | _described(group, versions))

    def _resources(self, group: str, version: str) -> Response | None:
        found = self._registry.in_version(group, version)
        if not found:
            return None
        described: list[Object] = []
        for resource in sorted(found, key=lambda each: each.plural):
            described.append(_resource(resource))
            described += [_subresource(resource, sub) for sub in resource.subresources]
        head: Object = {"kind": "APIResourceList"}
        if group:
            head["apiVersion"] = "v1"
        name = f"{group}/{version}" if group else version
        return json_response(head | {"groupVersion": name, "resources": described})

    def _aggregated(self, groups: list[str]) -> Response:
        versions = self._registry.versions()
        items = [
            {
                "metadata": {"name": group} if group else {},
                "versions": [self._aggregated_version(group, each) for each in versions[group]],
            }
            for group in groups
        ]
        body = {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }
        response = json_response(body)
        response.content_type = _AGGREGATED
        return response

    def _aggregated_version(self, group: str, version: str) -> Object:
        found = sorted(self._registry.in_version(group, version), key=lambda each: each.plural)
        resources = [_aggregated_resource(resource) for resource in found]
        return {"version": version, "resources": resources, "freshness": "Current"}


def _wants_aggregated(request: Request) -> bool:
    clauses = request.accept.replace(" ", "").split(",")
    return any(
        {"as=APIGroupDiscoveryList", "v=v2", "g=apidiscovery.k8s.io"} <= set(clause.split(";"))
        for clause in clauses
    )


def _described(group: str, versions: list[str]) -> Object:
    listed = [{"groupVersion": f"{group}/{each}", "version": each} for each in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def _resource(resource: Resource) -> Object:
    described: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.is_namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    described |= _names(resource)
    if "watch" in resource.verbs:
        described["storageVersionHash"] = resource.storage_version_hash
    return described


def _names(resource: Resource) -> Object:
    names: Object = {}
    if resource.short_names:
        names["shortNames"] = list(resource.short_names)
    if resource.categories:
        names["categories"] = list(resource.categories)
    return names


def _subresource(resource: Resource, sub: Subresource) -> Object:
    other = {"group": sub.group, "version": sub.version} if sub.group else {}
    return {
        "name": f"{resource.plural}/{sub.name}",
        "singularName": "",
        "namespaced": resource.is_namespaced,
        **other,
        "kind": sub.kind,
        "verbs": list(sub.verbs),
    }


def _aggregated_resource(resource: Resource) -> Object:
    described: Object = {
        "resource": resource.plural,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": "Namespaced" if resource.is_namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
        **_names(resource),
    }
    if resource.subresources:
        described["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": list(sub.verbs),
            }
            for sub in resource.subresources
        ]
    return described
