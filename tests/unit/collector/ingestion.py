"""A process that does nothing but ingest, to be killed."""

from collections import deque
from multiprocessing.connection import Connection

from collector.database import open_database
from collector.records import Batch, SampleRow, Tick
from collector.store import Store

N_PODS = 500


def ingest(url: str, first: int, done: Connection) -> None:
    """Write round after round, and say of each that it is stored."""
    store = Store(open_database(url, now_text="now"), first_seq=1)
    n = first
    while True:
        store.write(make_round(n))
        done.send(n)
        n += 1


def make_round(n: int) -> Batch:
    at_s = 1_790_000_000.0 + 30 * n
    pods = {f"u{i}": SampleRow(at_s, n, i, False, "default/Job/j") for i in range(N_PODS)}
    return Batch(ticks=deque([Tick(pods=pods)]))
