"""Placements and their outcomes, read from the collector bit by bit and kept as rows."""

import threading

import msgspec
import requests

from collector.contract import Placements
from predictor.rows import Row, placement_rows
from predictor.scoring import Weights
from predictor.settings import CollectorSettings, DataSettings


class CollectorAwayError(Exception):
    """The collector did not answer, or not with placements: go on with what is known."""


class PlacementRows:
    """Rows by pod uid, oldest first; grows with every ``refresh``.

    Args:
        collector: Where to read.
        data: How much to keep.
        weights: For the enhanced score of a row.
    """

    def __init__(
        self, collector: CollectorSettings, *, data: DataSettings, weights: Weights
    ) -> None:
        self._url = collector.url.rstrip("/") + "/api/v1/placements"
        self._timeout_s = float(collector.timeout)
        self._data = data
        self._weights = weights
        self._session = requests.Session()
        self._session.trust_env = False  # the collector is never behind a proxy
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        self._since = 0

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> dict[str, Row]:
        """Give the rows known so far, by pod uid."""
        with self._lock:
            return dict(self._rows)

    def n_made_since(self, since_s: float) -> int:
        """Count placements since an instant, Unix seconds."""
        with self._lock:
            return sum(row.made_at_s >= since_s for row in self._rows.values())

    def refresh(self) -> None:
        """Read what is new since the last time.

        Raises:
            CollectorAwayError: It could not be read to the end; what was read is kept.
        """
        with self._lock:
            # One that has no outcome yet comes again, under a new number, when it has.
            while (page := self._page(self._since)).items:
                self._rows.update(placement_rows(page.items, weights=self._weights))
                self._since = page.next_since
            self._forget()

    def _forget(self) -> None:
        newest_s = max((row.made_at_s for row in self._rows.values()), default=0.0)
        oldest_s = newest_s - self._data.cache_duration
        kept = [(uid, row) for uid, row in self._rows.items() if row.made_at_s >= oldest_s]
        kept.sort(key=lambda item: item[1].made_at_s)
        self._rows = dict(kept[-self._data.max_rows :])

    def _page(self, since: int) -> Placements:
        try:
            answer = self._session.get(self._url, params={"since": since}, timeout=self._timeout_s)
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=Placements)
        except (requests.RequestException, msgspec.DecodeError) as error:
            raise CollectorAwayError(str(error)) from error

    def close(self) -> None:
        """Close the connections."""
        self._session.close()
