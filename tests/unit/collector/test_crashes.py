"""What a kill at any moment leaves behind."""

import multiprocessing
import os
import random
import time
from typing import Final

from sqlalchemy import text

from collector.database import open_database
from tests.unit.collector.ingestion import N_PODS, ingest

N_KILLS: Final = int(os.environ.get("COLLECTOR_KILLS", "20"))
_WAIT_S: Final = 30.0


def kill_while_ingesting(url: str, *, first: int, rng: random.Random) -> int:
    """Kill a process at some moment of a round; give the last round that it said is stored."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.unit.collector.ingestion"])
    stored, done = context.Pipe(duplex=False)
    process = context.Process(target=ingest, args=(url, first, done))
    process.start()
    done.close()
    try:
        assert stored.poll(_WAIT_S), "it does not ingest"
        last = stored.recv()
        # Not a wait for anything: it is the moment of the kill that is left to chance.
        time.sleep(rng.uniform(0, 0.03))
    finally:
        process.kill()
        process.join(_WAIT_S)
    while stored.poll():
        try:
            last = stored.recv()
        except EOFError:
            break
    stored.close()
    return last


def rounds_in(url: str) -> dict[int, int]:
    """Open a database as the program does; give the samples of each round."""
    database = open_database(url, now_text="now")
    with database.reading() as connection:
        if url.startswith("sqlite"):
            assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
        rows = connection.execute(text("SELECT cpu_milli, count(*) FROM samples GROUP BY at_ms, 1"))
        rounds = {row[0]: row[1] for row in rows}
    database.close()
    return rounds


def test_kills_leave_whole_rounds_and_cost_none_that_was_stored(database_url: str, caplog):
    rng, next_round = random.Random(7), 0
    for _ in range(N_KILLS):
        last = kill_while_ingesting(database_url, first=next_round, rng=rng)

        rounds = rounds_in(database_url)

        assert set(rounds.values()) == {N_PODS}
        # The round that was under way is there as a whole, or not at all.
        assert sorted(rounds) in (list(range(last + 1)), list(range(last + 2)))
        next_round = max(rounds) + 1
    assert "set aside" not in caplog.text
