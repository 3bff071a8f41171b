"""The answer to a scrape: written object by object, kept while an object does not change."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final, TypeAlias

from scheduler.simulator.kube_state.families import Kind
from scheduler.simulator.kube_state.nodes import OF_NODES
from scheduler.simulator.kube_state.pods import OF_PODS
from scheduler.simulator.kube_state.workloads import OF_DEPLOYMENTS, OF_NAMESPACES, OF_REPLICA_SETS
from scheduler.simulator.resources import Object
from scheduler.simulator.store import Store

KINDS: Final = (OF_NAMESPACES, OF_NODES, OF_PODS, OF_REPLICA_SETS, OF_DEPLOYMENTS)
_BATCH: Final = 500
"""So many objects are written before others may have the event loop: some ten milliseconds."""

_Written: TypeAlias = tuple[Object, tuple[bytes, ...]]


class KubeState:
    """Writes the state of the cluster, as of the moment when a scrape begins.

    Nothing is done, or kept, before the first scrape. From then on the text of every object is kept
    (about 4 kB a pod), and written anew only when the object is another version.

    Args:
        store: The cluster's objects.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._written: dict[str, dict[str, _Written]] = {}

    async def parts(self) -> AsyncIterator[bytes]:
        """Write all metrics, bit by bit, so that the cluster goes on meanwhile."""
        # No version ever changes, so this is one moment of the whole cluster.
        moment = [(kind, self._store.list(kind.resource)) for kind in KINDS]
        for kind, objects in moment:
            texts = [text async for text in self._write(kind, objects)]
            for index, family in enumerate(kind.families):
                yield family.head
                for first in range(0, len(texts), _BATCH):
                    yield b"".join([text[index] for text in texts[first : first + _BATCH]])
                    await asyncio.sleep(0)

    async def _write(self, kind: Kind, objects: list[Object]) -> AsyncIterator[tuple[bytes, ...]]:
        before, now = self._written.get(kind.resource.table, {}), dict[str, _Written]()
        n_new = 0
        for obj in objects:
            uid = obj["metadata"]["uid"]
            written = before.get(uid)
            if written is None or written[0] is not obj:
                written = obj, kind.render(obj)
                n_new += 1
                if n_new % _BATCH == 0:
                    await asyncio.sleep(0)
            now[uid] = written
            yield written[1]
        self._written[kind.resource.table] = now
