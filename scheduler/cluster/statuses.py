"""Keeps statuses of groups, quotas and applications: what upstream's controllers do."""

import logging
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec

from kube.backoff import Backoff
from kube.client import MERGE_PATCH, Client
from kube.custom import AppGroup, CustomResource, ElasticQuota, PodGroup
from kube.edge.logs import facts
from kube.errors import ConflictError, KubeError, NotFoundError
from kube.informer import Event as Change
from kube.objects import Pod
from scheduler.cluster.app_group_status import next_app_group_status, read_part, wire_status
from scheduler.cluster.group_status import next_status, read_member
from scheduler.cluster.grouped_pods import GroupedPods
from scheduler.cluster.hand import Hand
from scheduler.cluster.quota_status import Usage, next_quota_status

log = logging.getLogger(__name__)

_INTERVAL_S: Final = 1.0
_MAX_BACKOFF_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Due:
    """A status that differs from what is there."""

    found: CustomResource
    status: dict[str, Any]

    @property
    def path(self) -> str:
        root, plural = self.found.collection.rsplit("/", 1)
        meta = self.found.metadata
        return f"{root}/namespaces/{meta.namespace}/{plural}/{meta.name}/status"


class StatusKeeper(Hand):
    """Looks now and then at what has changed, and writes what is new.

    Args:
        client: The API server.
        objects: Lists what the watch knows of a kind.
        kinds: Of which kinds the status is kept.
        is_leader: Whether we may write at this moment.
        rng: Jitter.
        interval_s: How often to look, by the local clock.
    """

    _finish_s: ClassVar[float] = 5.0

    def __init__(
        self,
        client: Client,
        *,
        objects: Callable[[type[CustomResource]], Sequence[Any]],
        kinds: frozenset[type[CustomResource]],
        is_leader: Callable[[], bool],
        rng: random.Random,
        interval_s: float = _INTERVAL_S,
    ) -> None:
        super().__init__("statuses")
        self._interval_s = interval_s
        self._client = client
        self._objects = objects
        self._kinds = kinds
        self._is_leader = is_leader
        self._backoff = Backoff(rng, base_s=interval_s, max_s=_MAX_BACKOFF_S)
        self._lock = threading.Lock()
        self._members = GroupedPods(read_member)
        self._parts = GroupedPods(read_part)
        self._usage: Usage | None = None
        self._told: dict[str, str] = {}
        """Which version of an object has been answered; the watch may not show our answer yet."""

    @property
    def wants_usage(self) -> bool:
        """Whether it is time for ``take_usage``."""
        return ElasticQuota in self._kinds and self._usage is None

    def see(self, change: Change[Pod]) -> None:
        """Take in what the watch says of a pod."""
        if PodGroup in self._kinds:
            with self._lock:
                self._members.see(change)
        if AppGroup in self._kinds:
            with self._lock:
                self._parts.see(change)

    def take_usage(self, usage: Usage) -> None:
        """Take in what namespaces use now."""
        self._usage = usage

    def _run(self) -> None:
        delay_s = self._interval_s
        while not self._stop.wait(delay_s):
            if not self._is_leader():
                continue
            try:
                self._round()
            except KubeError as error:
                log.warning("statuses not written", extra=facts(error=str(error)))
                delay_s = self._backoff.next_delay_s()
            else:
                self._backoff.reset()
                delay_s = self._interval_s

    def _round(self) -> None:
        due = [*self._due_groups(), *self._due_quotas(), *self._due_applications()]
        self._told = {each.path: self._told.get(each.path, "") for each in due}
        for each in due:
            version = each.found.metadata.resource_version
            if self._told[each.path] == version or self._stop.is_set():
                continue
            body = msgspec.json.encode({"status": each.status})
            # The watch will say what it is now; or its definition has no status.
            with suppress(ConflictError, NotFoundError):
                self._client.patch(each.path, body=body, content_type=MERGE_PATCH)
            self._told[each.path] = version

    def _due_groups(self) -> list[_Due]:
        if PodGroup not in self._kinds:
            return []
        now_s, due = self._client.now_s(), list[_Due]()
        with self._lock:
            for group in self._objects(PodGroup):
                members = self._members.of(group.metadata.key)
                status = next_status(group, members=members, now_s=now_s)
                if status != group.status:
                    due.append(_Due(group, msgspec.to_builtins(status)))
        return due

    def _due_applications(self) -> list[_Due]:
        if AppGroup not in self._kinds:
            return []
        now_s, due = self._client.now_s(), list[_Due]()
        with self._lock:
            for group in self._objects(AppGroup):
                parts = self._parts.of(group.metadata.name)
                status = next_app_group_status(group, parts=parts, now_s=now_s)
                if status != group.status:
                    due.append(_Due(group, wire_status(status)))
        return due

    def _due_quotas(self) -> list[_Due]:
        usage, self._usage = self._usage, None
        if usage is None:
            return []
        due = list[_Due]()
        for quota in self._objects(ElasticQuota):
            status = next_quota_status(quota, usage=usage)
            if status is not quota.status:
                gone = dict.fromkeys(quota.status.used or ())
                due.append(_Due(quota, {"used": {**gone, **(status.used or {})}}))
        return due
