"""One writer a database: numbers are given out in memory, so two would give the same ones."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from collector.database import StoreError

_KEY: Final = 0x636F6C6C6563746F
"""PostgreSQL's advisory locks are numbers: ours is "collecto"."""
_CONNECT_S: Final = 5


@contextmanager
def claiming(url: str) -> Iterator[None]:
    """Be the only writer of a database until the block ends, or the process does.

    Args:
        url: An SQLAlchemy URL of SQLite or PostgreSQL, whose database is there.

    Raises:
        StoreError: Another is, or the database does not answer.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        with _claiming_file(f"{parsed.database}.lock"):
            yield
        return
    engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": _CONNECT_S})
    try:
        with engine.connect() as connection:
            claim = text("SELECT pg_try_advisory_lock(:key)")
            is_ours = connection.execute(claim, {"key": _KEY}).scalar()
            # The lock is the session's, which need not idle in a transaction.
            connection.commit()
            _check(url=parsed.render_as_string(), is_ours=bool(is_ours))
            yield
    except SQLAlchemyError as error:
        raise StoreError(f"database: {error}") from error


@contextmanager
def _claiming_file(path: str) -> Iterator[None]:
    # Locked by SQLite's own means, which work wherever the database itself does.
    with closing(sqlite3.connect(path, timeout=0.0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            _check(url=path, is_ours=False)
        yield


def _check(*, url: str, is_ours: bool) -> None:
    """Raise unless the claim is ours.

    Raises:
        StoreError: It is not.
    """
    if not is_ours:
        raise StoreError(f"{url}: another collector, or an import, is using this database")
