"""Compares recorded answers with live ones, setting aside what is each server's own."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any
from urllib.parse import quote, unquote

from scheduler.simulator.resources import Object

_OWN = frozenset(
    {
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "lastTransitionTime",
        "lastUpdateTime",
        "lastHeartbeatTime",
        "managedFields",
        "continue",
        "clusterIP",
        "clusterIPs",
        "nodePort",
    }
)
"""Fields whose values are a server's own, or the clock's; that they are there counts."""
_BUILD = frozenset(
    {
        *("gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion"),
        *("compiler", "platform", "serverAddress"),
    }
)
_AGE = re.compile(r"(\d+[smhdy])+|<invalid>")
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIFF_LIMIT = 12


class Aliases:
    """What stands on the live server for the recorded versions, uids, names and tokens."""

    def __init__(self) -> None:
        self._versions: dict[str, str] = {}
        self._texts: dict[str, str] = {}

    def learn(self, recorded: Any, live: Any) -> None:
        """Take in a pair of answers to the same request."""
        if isinstance(recorded, dict) and isinstance(live, dict):
            for key, value in recorded.items():
                self._learn_field(key, value, live.get(key), has_prefix="generateName" in recorded)
        elif isinstance(recorded, list) and isinstance(live, list):
            for one, other in zip(recorded, live, strict=False):
                self.learn(one, other)

    def _learn_field(self, key: str, recorded: Any, live: Any, *, has_prefix: bool) -> None:
        if not (isinstance(recorded, str) and isinstance(live, str)):
            self.learn(recorded, live)
        elif key == "resourceVersion":
            self._versions[recorded] = live
        elif recorded != live and (key in ("uid", "continue") or (key == "name" and has_prefix)):
            self._texts[recorded] = live

    def in_text(self, text: str) -> str:
        """A text with the live values in it."""
        if text in self._texts:
            return self._texts[text]
        for recorded, live in self._texts.items():
            if recorded in text:
                text = text.replace(recorded, live)
        return text

    def in_path(self, path: str) -> str:
        """A path, with its query, for the live server."""
        head, mark, query = path.partition("?")
        parts = []
        for part in query.split("&") if mark else ():
            name, _, value = part.partition("=")
            known = unquote(value)
            if name == "resourceVersion":
                known = self._versions.get(known, known)
            else:
                known = self.in_text(known)
            parts.append(f"{name}={value if known == unquote(value) else quote(known, safe='')}")
        return self.in_text(head) + mark + "&".join(parts)

    def in_value(self, value: Any) -> Any:
        """A body for the live server."""
        if isinstance(value, dict):
            return {
                key: self._versions.get(inner, inner)
                if key == "resourceVersion" and isinstance(inner, str)
                else self.in_value(inner)
                for key, inner in value.items()
            }
        if isinstance(value, list):
            return [self.in_value(inner) for inner in value]
        return self.in_text(value) if isinstance(value, str) else value


def compare_answers(
    recorded: Any, live: Any, *, aliases: Aliases, with_values: bool = True
) -> Iterator[str]:
    """How the bodies of two answers differ.

    Args:
        recorded: What the real server answered.
        live: What the simulated one answered.
        aliases: Puts live names into recorded texts.
        with_values: Compare values, not only which fields there are.
    """
    if isinstance(recorded, dict):
        kind = recorded.get("kind")
        if kind in ("APIGroupList", "APIGroupDiscoveryList"):
            recorded, live = _shared_groups(recorded, live)
        if "paths" in recorded and "kind" not in recorded:
            recorded, live = _shared_paths(recorded, live)
        if kind == "Table":
            yield from _compare_tables(recorded, live, aliases)
            return
    found = list(_Comparison(aliases, with_values).differences(recorded, live, ""))
    yield from found[:_DIFF_LIMIT]
    if len(found) > _DIFF_LIMIT:
        yield f"and {len(found) - _DIFF_LIMIT} more"


def compare_events(
    recorded: Sequence[Object], live: Sequence[Object], *, aliases: Aliases
) -> Iterator[str]:
    """How two sequences of watch events differ."""
    types = [event["type"] for event in recorded]
    live_types = [event["type"] for event in live]
    if types != live_types:
        yield f"events {' '.join(live_types)} instead of {' '.join(types)}"
        return
    for i, (one, other) in enumerate(zip(recorded, live, strict=True)):
        for what in compare_answers(one["object"], other["object"], aliases=aliases):
            yield f"event {i} ({one['type']}): {what}"


@dataclass(frozen=True, slots=True)
class _Comparison:
    """How closely to look."""

    aliases: Aliases
    with_values: bool = True

    def differences(self, recorded: Any, live: Any, at: str) -> Iterator[str]:
        if isinstance(recorded, dict) and isinstance(live, dict):
            yield from self._fields(recorded, live, at)
        elif isinstance(recorded, list) and isinstance(live, list):
            if len(recorded) != len(live):
                yield f"{at} has {len(live)} elements instead of {len(recorded)}"
            for i, (one, other) in enumerate(zip(recorded, live, strict=False)):
                yield from self.differences(one, other, f"{at}[{i}]")
        elif self.with_values and not _same(recorded, live, self.aliases):
            yield f"{at} is {live!r} instead of {recorded!r}"
        else:
            yield from _compare_own(recorded, live, at)

    def _fields(self, recorded: Object, live: Object, at: str) -> Iterator[str]:
        for key in sorted(recorded.keys() | live.keys()):
            here = f"{at}.{key}" if at else str(key)
            if key not in live:
                yield f"lacks {here}"
            elif key not in recorded:
                yield f"has {here}"
            elif key in _OWN or key in _BUILD:
                yield from _compare_own(recorded[key], live[key], here)
            else:
                yield from self.differences(recorded[key], live[key], here)


def _compare_own(recorded: Any, live: Any, at: str) -> Iterator[str]:
    if (recorded is None) is not (live is None):
        yield f"{at} is {live!r} instead of {recorded!r}"


def _same(recorded: Any, live: Any, aliases: Aliases) -> bool:
    if recorded == live:
        return True
    if isinstance(recorded, str) and isinstance(live, str):
        expected = aliases.in_text(recorded)
        return expected == live or _without_own(expected) == _without_own(live)
    return False


def _without_own(text: str) -> str:
    """A message without the versions and uids in it."""
    text = re.sub(r"resource version: \d+( \(\d+\)|, current: \d+)?", "resource version", text)
    return _UID.sub("<uid>", text)


def _shared_groups(recorded: Object, live: Any) -> tuple[Object, Any]:
    """Only the groups that both serve, in the recorded order, and only resources of both."""
    if not isinstance(live, dict):
        return recorded, live
    field = "groups" if "groups" in recorded else "items"

    def name(group: Object) -> str:
        return str(group.get("name") or group.get("metadata", {}).get("name", ""))

    ours = {name(group): group for group in live.get(field, ())}
    theirs = {name(group): group for group in recorded[field] if name(group) in ours}
    for key, group in theirs.items():
        _drop_unserved(group, ours[key])
    return {**recorded, field: list(theirs.values())}, {
        **live,
        field: [ours[key] for key in theirs],
    }


def _drop_unserved(recorded: Object, live: Object) -> None:
    """Groups that are served in part are compared in what is served."""
    for one, other in zip_longest(recorded["versions"], live["versions"]):
        if not one or not other or "resources" not in one:
            continue
        ours = {each["resource"] for each in other["resources"]}
        one["resources"] = [each for each in one["resources"] if each["resource"] in ours]


def _shared_paths(recorded: Object, live: Any) -> tuple[Object, Any]:
    ours = live.get("paths", {}) if isinstance(live, dict) else {}
    shared = recorded["paths"].keys() & ours.keys()
    # The address holds a hash of the document.
    return (
        {"paths": {key: _without_hash(recorded["paths"][key]) for key in shared}},
        {"paths": {key: _without_hash(ours[key]) for key in shared}},
    )


def _without_hash(entry: Object) -> Object:
    return {key: value.partition("?hash=")[0] for key, value in entry.items()}


def _compare_tables(recorded: Object, live: Any, aliases: Aliases) -> Iterator[str]:
    """Tables are compared as any object, except that ages are the clock's."""
    yield from _Comparison(aliases).differences(_ageless(recorded), _ageless(live), "")


def _ageless(table: Any) -> Any:
    if not isinstance(table, dict) or not isinstance(table.get("rows"), list):
        return table
    rows = [
        {**row, "cells": ["<age>" if _is_age(cell) else cell for cell in row["cells"]]}
        for row in table["rows"]
    ]
    return {**table, "rows": rows}


def _is_age(cell: object) -> bool:
    return isinstance(cell, str) and _AGE.fullmatch(cell) is not None
