"""Placements and their outcomes, read from the collector bit by bit and kept as rows."""

import threading

import msgspec
import requests

from collector.contract import Placement, Placements
from predictor.rows import Row, placement_row
from predictor.scoring import Weights
from predictor.settings import CollectorSettings, DataSettings

_OUTCOME_HORIZON_S = 3600.0
"""An outcome that has not come after so long will not come: the pod was deleted too early."""


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
        self._resume_at: Placement | None = None
        self._newest_s = float("-inf")

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> dict[str, Row]:
        """Give the rows known so far, by pod uid."""
        with self._lock:
            return dict(self._rows)

    def refresh(self) -> None:
        """Read what is new since the last time.

        Raises:
            CollectorAwayError: It could not be read to the end; what was read is kept.
        """
        with self._lock:
            page, last = self._first_page(), self._resume_at
            waiting: list[Placement] = []
            while page.items:
                waiting += [p for p in page.items if not self._keep(p)]
                last = page.items[-1]
                page = self._page(last.id)
            # Outcomes come later than placements: go on from the first that is still awaited.
            oldest_s = self._newest_s - _OUTCOME_HORIZON_S
            awaited = (p for p in waiting if p.placed_at_s > oldest_s)
            self._resume_at = next(awaited, last)
            self._forget()

    def _first_page(self) -> Placements:
        """Read on from where the last reading ended, and at least the placement there again.

        If that is gone, the collector has begun anew and counts from one: so do we.
        """
        known = self._resume_at
        if known is None:
            return self._page(0)
        page = self._page(known.id - 1)
        if page.items and page.items[0].pod_uid == known.pod_uid:
            return page
        self._newest_s = float("-inf")
        return self._page(0)

    def _keep(self, placement: Placement) -> bool:
        """Keep the row of a placement; false while there is none."""
        self._newest_s = max(self._newest_s, placement.placed_at_s)
        if placement.pod_uid in self._rows:
            return True
        row = placement_row(placement, weights=self._weights)
        if row is None:
            return False
        self._rows[placement.pod_uid] = row
        return True

    def _forget(self) -> None:
        oldest_s = self._newest_s - self._data.cache_duration
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
