"""Names taken out of a recording: what was alike stays alike, and nobody can tell who it was."""

import hashlib
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from scheduler.simulator.traces.rows import (
    NodeRow,
    PodRow,
    TaintParts,
    write_labels,
    write_taints,
)

_WELL_KNOWN: Final = re.compile(r"(.*[./])?(kubernetes|k8s)\.io/.*|metadata\.name")
"""Keys of which everybody knows what they mean; their values may tell names."""
_NUMBER: Final = re.compile(r"-?[0-9]+")
_LISTS_OF_NAMES: Final = frozenset({"values", "namespaces"})
_LISTS_OF_KEYS: Final = frozenset({"matchLabelKeys", "mismatchLabelKeys"})


class Mask:
    """Puts hashes in place of names.

    The same name becomes the same hash wherever it stands, so that selectors go on selecting.
    Numbers stay, for selectors may compare them; so do kinds, operators and well-known label keys.

    Args:
        salt: Random, up to 64 bytes; whoever does not have it cannot try out names.
    """

    def __init__(self, salt: bytes) -> None:
        self._salt = salt

    def name(self, text: str) -> str:
        """Mask a name; nothing stays nothing."""
        if not text:
            return ""
        digest = hashlib.blake2b(text.encode(), key=self._salt, digest_size=8).hexdigest()
        return f"x{digest}"

    def workload(self, key: str) -> str:
        """Mask ``namespace/kind/name``."""
        namespace, kind, name = key.split("/", 2)
        return f"{self.name(namespace)}/{kind}/{self.name(name)}"

    def node(self, row: NodeRow) -> NodeRow:
        """Mask a node."""
        taints: list[TaintParts] = [
            (self._key(key), self._value(value), effect) for key, value, effect in row.taint_list
        ]
        return msgspec.structs.replace(
            row,
            name=self.name(row.name),
            labels=write_labels(self._labels(row.label_map)),
            taints=write_taints(taints),
        )

    def pod(self, row: PodRow) -> PodRow:
        """Mask a pod."""
        constraints = ""
        if row.constraints:
            constraints = msgspec.json.encode(self._part(row.constraint_fields)).decode()
        return msgspec.structs.replace(
            row,
            name=self.name(row.name),
            namespace=self.name(row.namespace),
            workload=self.name(row.workload),
            node=self.name(row.node),
            labels=write_labels(self._labels(row.label_map)),
            constraints=constraints,
        )

    def _key(self, text: str) -> str:
        return text if _WELL_KNOWN.fullmatch(text) else self.name(text)

    def _value(self, text: str) -> str:
        return text if _NUMBER.fullmatch(text) else self.name(text)

    def _labels(self, labels: dict[str, str]) -> dict[str, str]:
        return {self._key(key): self._value(value) for key, value in labels.items()}

    def _part(self, part: Any, *, field: str = "") -> Any:
        """Mask a part of a pod's spec; *field* is where it stands."""
        if isinstance(part, dict):
            if field in ("nodeSelector", "matchLabels"):
                return self._labels(part)
            return {name: self._part(each, field=name) for name, each in part.items()}
        if isinstance(part, list):
            return [self._part(each, field=field) for each in part]
        mask = self._masks().get(field)
        return part if mask is None or not isinstance(part, str) else mask(part)

    def _masks(self) -> dict[str, Callable[[str], str]]:
        return {
            "key": self._key,
            "topologyKey": self._key,
            "value": self._value,
            **dict.fromkeys(_LISTS_OF_NAMES, self._value),
            **dict.fromkeys(_LISTS_OF_KEYS, self._key),
        }
