"""Which seccomp profiles a pod's containers run under."""

from typing import Final

from kube.objects import Pod, SecurityContext

_POD_ANNOTATION: Final = "seccomp.security.alpha.kubernetes.io/pod"
_CONTAINER_ANNOTATION: Final = "container.seccomp.security.alpha.kubernetes.io/"
_LOCALHOST: Final = "localhost/"


def localhost_profiles(pod: Pod) -> tuple[str, ...]:
    """Name the profiles of the containers that keep running, by their paths on the node; sorted.

    A container's own profile outdoes the pod's; annotations count where no field says anything,
    as before Kubernetes 1.19. Containers under no profile of the node's are left out.
    """
    spec, annotations = pod.spec, pod.metadata.annotations or {}
    of_pod = _path(spec.security_context, annotated=annotations.get(_POD_ANNOTATION, ""))
    running = [*(spec.containers or ()), *(c for c in spec.init_containers or () if c.is_sidecar)]
    paths = set()
    for container in running:
        annotated = annotations.get(_CONTAINER_ANNOTATION + container.name, "")
        own = _path(container.security_context, annotated=annotated)
        paths.add(of_pod if own is None else own)
    return tuple(sorted(path for path in paths if path))


def _path(context: SecurityContext | None, *, annotated: str) -> str | None:
    """Return the path; empty for a profile that is not the node's, ``None`` if nothing is said."""
    profile = None if context is None else context.seccomp_profile
    if profile is not None:
        return profile.localhost_profile or "" if profile.type == "Localhost" else ""
    if not annotated:
        return None
    return annotated.removeprefix(_LOCALHOST) if annotated.startswith(_LOCALHOST) else ""
