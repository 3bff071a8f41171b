"""Does again what another, unrecorded client did while a watch was being recorded.

The events of all recorded watches together show every such write. Before the answer to a watch is
compared, the writes that it is to see are made, and those that it was made beside but could not
see, such as the end of a pod that had left its selection.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from scheduler.simulator.apiserver.requests import Request
from scheduler.simulator.apiserver.routes import Registry, Target
from scheduler.simulator.apiserver.selection import Selection
from scheduler.simulator.resources import PODS, Object
from scheduler.simulator.wire_compare import Aliases

_SET_BY_SERVER = (
    *("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"),
    *("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"),
)


class Send(Protocol):
    """Sends a request to the live server."""

    def __call__(self, method: str, path: str, *, body: Any = None) -> Any:
        """Send it; answer with an object whose ``body`` is the decoded body."""


class OtherClient:
    """Repeats unrecorded writes.

    Args:
        events: Of all recorded watches.
        send: Sends a request to the live server.
        aliases: Learns the uids of what is created.
    """

    def __init__(self, events: Iterable[Object], *, send: Send, aliases: Aliases) -> None:
        self._send = send
        self._aliases = aliases
        self._registry = Registry()
        self._states: dict[str, Object] = {}
        self._done = 0
        # A watched table or metadata alone does not show what was written.
        kinds = {(each.api_version, each.kind) for each in self._registry.all()}
        full = [
            event
            for event in events
            if event["type"] in ("ADDED", "MODIFIED", "DELETED")
            and (event["object"].get("apiVersion"), event["object"].get("kind")) in kinds
        ]
        writes = {_version(event["object"]): event for event in full}
        self._writes = self._completed(writes, full)

    def saw(self, answer: Any) -> None:
        """Take in a recorded answer: what it shows was not done by another client."""
        if not isinstance(answer, dict):
            return
        for obj in [answer, *(answer.get("items") or ())]:
            version = _version(obj)
            self._done = max(self._done, version)
            uid = (obj.get("metadata") or {}).get("uid")
            if uid and version:
                head = {"kind": str(answer.get("kind", "")).removesuffix("List")}
                head["apiVersion"] = answer.get("apiVersion", "")
                self._states[uid] = {**head, **obj}

    def act_during(self, path: str, events: Iterable[Object]) -> None:
        """Make the writes of the time of this watch.

        Args:
            path: Of the watch, as recorded.
            events: What it was answered with.
        """
        last = max((_version(event["object"]) for event in events), default=0)
        sees = self._visible(path)
        for version in sorted(self._writes):
            if version <= self._done:
                continue
            event = self._writes[version]
            if version > last and sees(event["object"]):
                break
            self._perform(event)
            self._done = version

    # --- details

    def _completed(self, writes: dict[int, Object], events: list[Object]) -> dict[int, Object]:
        """Prefer what an unselective watch saw: to others, an object may only seem to leave."""
        for event in events:
            version = _version(event["object"])
            if event["type"] == "MODIFIED" and version in writes:
                writes[version] = event
        return writes

    def _visible(self, path: str) -> Callable[[Object], bool]:
        parts = urlsplit(path)
        target = self._registry.target(parts.path)
        if target is None:
            return lambda _obj: False
        request = Request(method="GET", path=parts.path, query=dict(parse_qsl(parts.query)))
        selection = Selection.of(request, target.resource, target.namespace)
        kind, namespace = target.resource.kind, target.namespace

        def sees(obj: Object) -> bool:
            was = self._states.get(obj["metadata"].get("uid", ""))
            if obj.get("kind") != kind:
                return False
            if namespace and obj["metadata"].get("namespace") != namespace:
                return False
            is_in = selection.admits_object(obj)
            return is_in or (was is not None and selection.admits_object(was))

        return sees

    def _perform(self, event: Object) -> None:
        obj = event["object"]
        target = self._target(obj)
        uid = obj["metadata"]["uid"]
        was = self._states.get(uid)
        if event["type"] == "DELETED":
            self._states.pop(uid, None)
            marked = was is not None and was["metadata"].get("deletionGracePeriodSeconds") == 0
            if not marked:
                # One that was marked so is gone already, by the same request.
                self._delete(target, 0 if target.resource is PODS else None)
            return
        self._states[uid] = obj
        if was is None or event["type"] == "ADDED":
            self._create(target, obj)
        else:
            self._change(target, was, obj)

    def _target(self, obj: Object) -> Target:
        group, _, version = obj["apiVersion"].rpartition("/")
        resource = next(
            each
            for each in self._registry.in_version(group, version)
            if each.kind == obj["kind"] and "watch" in each.verbs
        )
        meta = obj["metadata"]
        return Target(resource=resource, namespace=meta.get("namespace", ""), name=meta["name"])

    def _create(self, target: Target, obj: Object) -> None:
        meta = {k: v for k, v in obj["metadata"].items() if k not in _SET_BY_SERVER}
        answer = self._send("POST", _path(target), body={**obj, "metadata": meta})
        self._aliases.learn(obj, answer.body)

    def _change(self, target: Target, was: Object, obj: Object) -> None:
        one = f"{_path(target)}/{target.name}"
        before, after = was["metadata"], obj["metadata"]
        node = obj.get("spec", {}).get("nodeName") if target.resource is PODS else None
        if node and not was["spec"].get("nodeName"):
            binding = {"metadata": {"name": target.name}, "target": {"kind": "Node", "name": node}}
            self._send("POST", f"{one}/binding", body=binding)
        elif after.get("deletionTimestamp") and (
            before.get("deletionGracePeriodSeconds") != after.get("deletionGracePeriodSeconds")
        ):
            self._delete(target, after.get("deletionGracePeriodSeconds"))
        elif was.get("status") != obj.get("status") and target.resource.has_subresource("status"):
            self._put(f"{one}/status", {"status": obj.get("status")}, after)
        else:
            self._put(one, {k: v for k, v in obj.items() if k != "metadata"}, after)

    def _put(self, path: str, changed: Object, meta: Object) -> None:
        live = self._send("GET", path.removesuffix("/status")).body
        kept = {k: v for k, v in meta.items() if k not in _SET_BY_SERVER}
        own = {k: v for k, v in live["metadata"].items() if k in _SET_BY_SERVER}
        self._send("PUT", path, body={**live, **changed, "metadata": {**kept, **own}})

    def _delete(self, target: Target, grace_s: int | None) -> None:
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        self._send("DELETE", f"{_path(target)}/{target.name}", body=options)


def _path(target: Target) -> str:
    resource = target.resource
    base = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
    place = f"/namespaces/{target.namespace}" if resource.is_namespaced else ""
    return f"{base}{place}/{resource.plural}"


def _version(obj: Any) -> int:
    text = (obj.get("metadata") or {}).get("resourceVersion", "") if isinstance(obj, dict) else ""
    return int(text) if isinstance(text, str) and text.isdigit() else 0
