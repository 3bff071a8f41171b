"""Writes batches behind the watch and the poller, so that a slow database slows neither."""

import logging

from collector.database import StoreError
from collector.records import Batch
from collector.store import Store
from collector.telemetry import Telemetry
from kube.edge.logs import facts

log = logging.getLogger(__name__)


class Journal:
    """Holds what the database could not take yet, up to a limit. For one thread at a time.

    Args:
        store: Where to write.
        telemetry: What to count.
    """

    def __init__(self, store: Store, *, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        self._pending = Batch()
        self._error = ""

    @property
    def error(self) -> str:
        """Why the last attempt failed; empty if it did not."""
        return self._error

    @property
    def n_pending(self) -> int:
        """How many ticks and rows wait."""
        return len(self._pending)

    def write(self, news: Batch) -> None:
        """Write what is pending and what is new; keep it if the database does not take it."""
        self._telemetry.store_dropped.inc(self._pending.absorb(news))
        if self._pending:
            self._attempt()
        self._telemetry.store_pending.set(len(self._pending))

    def _attempt(self) -> None:
        try:
            self._store.write(self._pending)
        except StoreError as error:
            self._telemetry.store_errors.inc()
            if not self._error:
                log.error(  # noqa: TRY400 (the operator needs the reason, not our stack)
                    "cannot write; holding samples and placements back",
                    extra=facts(reason=str(error)),
                )
            self._error = str(error)
            return
        if self._error:
            log.info("writing again", extra=facts(n_rows=len(self._pending)))
        self._error, self._pending = "", Batch()
