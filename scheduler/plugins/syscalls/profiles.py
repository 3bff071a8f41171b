"""Which system calls pods may make, as their seccomp profiles say."""

from typing import Final

from kube.custom import SeccompProfile
from scheduler.framework.changes import NEVER
from scheduler.framework.objects import ClusterObjects

Calls = frozenset[str]

_ALLOWING: Final = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
_MAX_RESOLVED: Final = 10_000


class CallsOfProfiles:
    """Resolves what pods name (``PodFacts.seccomp_profiles``), until a profile changes.

    Args:
        default: The profile (``namespace/name``) of pods whose own say nothing.
    """

    def __init__(self, default: str) -> None:
        self._default = default
        self._objects: ClusterObjects | None = None
        self.version = NEVER
        """Of the profiles that are known."""
        self._resolved: dict[tuple[str, ...], Calls] = {}

    def follow(self, objects: ClusterObjects) -> None:
        """Forget what was resolved if profiles have changed, or are another cluster's."""
        version = objects.version(SeccompProfile)
        if objects is not self._objects or version != self.version:
            self._objects, self.version = objects, version
            self._resolved.clear()

    def __getitem__(self, paths: tuple[str, ...]) -> Calls:
        """Return what a pod with these profiles may call; empty if nothing is known of it."""
        found = self._resolved.get(paths)
        if found is None:
            if len(self._resolved) >= _MAX_RESOLVED:
                self._resolved.clear()
            own = frozenset[str]().union(*(self._calls(key_of(path)) for path in paths))
            found = self._resolved[paths] = own or self._calls(self._default)
        return found

    def _calls(self, key: str) -> Calls:
        """Collect what a profile allows, and those that it adds to."""
        allowed: set[str] = set()
        seen: set[str] = set()
        while self._objects is not None and key not in seen:
            seen.add(key)
            profile = self._objects.find(SeccompProfile, key)
            if profile is None:
                break
            for rule in profile.spec.syscalls or ():
                if rule.action in _ALLOWING:
                    allowed.update(rule.names or ())
            key = f"{profile.metadata.namespace}/{profile.spec.base_profile_name or ''}"
        return frozenset(allowed)


def key_of(path: str) -> str:
    """Tell which profile is kept under a path such as ``operator/NAMESPACE/NAME.json``."""
    parts = path.rsplit("/", 2)
    namespace = parts[-2] if len(parts) > 1 else ""
    return f"{namespace}/{parts[-1].rpartition('.')[0] or parts[-1]}"
