"""The numbers under which names are stored."""

from typing import Any

from sqlalchemy import Connection, insert, update

from collector.history import HOUR_S, Subject
from collector.schema import SERIES


class Names:
    """Finds or gives the numbers of names within one transaction.

    Args:
        ids: Those known before: number and time of the last news, by subject and name.
        next_id: The first number that is free.
    """

    def __init__(self, ids: dict[tuple[int, str], tuple[int, int]], *, next_id: int) -> None:
        self._ids = ids
        self.next_id = next_id
        self.found: dict[tuple[int, str], tuple[int, int]] = {}
        self._new: list[dict[str, Any]] = []
        self._seen: dict[int, int] = {}

    def id_of(self, subject: Subject, name: str, *, at_s: float, workload: str = "") -> int:
        """Find or give a number; *at_s* is the time of the news about it."""
        key = (int(subject), name)
        known = self.found.get(key) or self._ids.get(key)
        if known is None:
            workload_id = self.id_of(Subject.WORKLOAD, workload, at_s=at_s) if workload else None
            known = (self.next_id, int(at_s))
            self.next_id += 1
            self._new.append(
                {
                    "id": known[0],
                    "subject": int(subject),
                    "name": name,
                    "workload_id": workload_id,
                    "last_at_s": known[1],
                }
            )
            self.found[key] = known
        elif at_s - known[1] >= HOUR_S:
            self.found[key] = (known[0], int(at_s))
            self._seen[known[0]] = int(at_s)
        return known[0]

    def write(self, connection: Connection) -> None:
        """Write what is new since the last call."""
        if self._new:
            connection.execute(insert(SERIES), self._new)
        for series_id, last_at_s in self._seen.items():
            connection.execute(
                update(SERIES).where(SERIES.c.id == series_id).values(last_at_s=last_at_s)
            )
        self._new, self._seen = [], {}
