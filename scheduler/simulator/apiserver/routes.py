"""Addresses: which object, or part of one, a path names."""

from dataclasses import dataclass

from scheduler.simulator.resources import BINDINGS, BUILT_IN, NAMESPACES, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a path is about. Without a name it is the whole collection."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class Registry:
    """The resources that are served now: the built-in ones and those defined by clients."""

    def __init__(self) -> None:
        self._resources: dict[tuple[str, str, str], Resource] = {
            (each.group, each.version, each.plural): each for each in BUILT_IN
        }

    def add(self, resource: Resource) -> None:
        """Serve a further resource, but none in the place of a built-in one."""
        known = self._resources.get((resource.group, resource.version, resource.plural))
        if known is None or known.is_custom:
            self._resources[resource.group, resource.version, resource.plural] = resource

    def remove(self, resource: Resource) -> None:
        """Serve it no longer, unless it is built in."""
        known = self._resources.get((resource.group, resource.version, resource.plural))
        if known is not None and known.is_custom:
            del self._resources[resource.group, resource.version, resource.plural]

    def all(self) -> list[Resource]:
        """Every resource, in the order of discovery."""
        return list(self._resources.values())

    def versions(self) -> dict[str, list[str]]:
        """The versions of every group, in the order of discovery."""
        found: dict[str, list[str]] = {}
        for group, version, _ in self._resources:
            if version not in found.setdefault(group, []):
                found[group].append(version)
        return found

    def in_version(self, group: str, version: str) -> list[Resource]:
        """The resources of one version of a group."""
        return [each for each in self.all() if (each.group, each.version) == (group, version)]

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource of that address, or None."""
        return self._resources.get((group, version, plural))

    def namespaced(self) -> list[Resource]:
        """Every stored resource that lives in namespaces."""
        return [
            each
            for each in self.all()
            if each.is_namespaced and "delete" in each.verbs and not each.storage
        ]

    def target(self, path: str) -> Target | None:
        """What the path names; None when it is nothing that is served."""
        parts = path.strip("/").split("/")
        head = 2 if parts[0] == "api" else 3
        if parts[0] not in ("api", "apis") or len(parts) <= head:
            return None
        group, version = ("", parts[1]) if head == 2 else (parts[1], parts[2])
        rest = parts[head:]
        namespace = ""
        if rest[0] == NAMESPACES.plural and len(rest) > 2:
            inner = self.find(group, version, rest[2])
            if inner is not None and inner.is_namespaced:
                namespace, rest = rest[1], rest[2:]
        resource = self.find(group, version, rest[0])
        if resource is None or len(rest) > 3:
            return None
        if namespace == "" and resource.is_namespaced and len(rest) > 1:
            return None
        name, subresource = [*rest[1:], "", ""][:2]
        if subresource and not resource.has_subresource(subresource):
            return None
        return Target(resource=resource, namespace=namespace, name=name, subresource=subresource)


def allowed_methods(target: Target) -> dict[str, str]:
    """The verb that each HTTP method means at this address."""
    resource = target.resource
    if target.subresource:
        verbs = next(sub.verbs for sub in resource.subresources if sub.name == target.subresource)
        wanted = {"GET": "get", "PUT": "update", "PATCH": "patch", "POST": "create"}
    elif target.name:
        verbs = resource.verbs
        wanted = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    else:
        verbs = resource.verbs
        wanted = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
        if resource.is_namespaced and not target.namespace and resource is not BINDINGS:
            wanted = {"GET": "list"}
    return {method: verb for method, verb in wanted.items() if verb in verbs}
