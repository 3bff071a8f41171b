"""For how long services were down: none of their pods ready, by the world's own account."""

from collections.abc import Iterator
from typing import Final

from scheduler.simulator.controllers.pods import is_ready
from scheduler.simulator.experiments.scenario import Service
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.resources import PODS

_HOUR_S: Final = 3600.0

Key = tuple[str, str]
"""A service's namespace and name."""


class DowntimeMeter:
    """Adds up, over a scenario's services, the time in which no pod of theirs was ready.

    A service that has never been up is still being deployed, and not down. What is seen at a look
    counts for the time since the last one.

    Args:
        site: The cluster.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._services = frozenset(
            (member.namespace, member.name)
            for member in site.users.members
            if isinstance(member.group, Service)
        )
        self._have_been_up: set[Key] = set()
        self._looked_at_s: float | None = None
        self._down_s = 0.0

    def look(self) -> None:
        """Take in which services are up now."""
        up = set(self._up())
        self._have_been_up |= up
        now_s = self._site.now_s
        if self._looked_at_s is not None:
            self._down_s += len(self._have_been_up - up) * (now_s - self._looked_at_s)
        self._looked_at_s = now_s

    @property
    def down_h(self) -> float | None:
        """Service-hours so far; ``None`` where there are no services."""
        return self._down_s / _HOUR_S if self._services else None

    def _up(self) -> Iterator[Key]:
        world = self._site.cluster.world
        for pod in self._site.store.list(PODS):
            meta = pod["metadata"]
            key = meta["namespace"], (meta.get("labels") or {}).get("app", "")
            # Of the pods on a node that has just died, nobody has said yet that they are not ready.
            if key in self._services and is_ready(pod) and world.is_up(pod["spec"]["nodeName"]):
                yield key
