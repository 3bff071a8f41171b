"""Opening the database: pragmas, transactions, and what to do about a corrupt file."""

import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, create_engine, event, inspect, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from collector import migrations
from collector.schema import METADATA
from kube.edge.logs import facts
from kube.edge.settings import SettingsError

log = logging.getLogger(__name__)

_CORRUPT: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    # A power failure may cost the last transactions; a killed process costs none.
    "PRAGMA synchronous = NORMAL",
    "PRAGMA busy_timeout = 5000",
)
_CONNECT_S: Final = 5


class StoreError(Exception):
    """The database cannot be read or written now (locked, full, gone): keep the data, try again."""


class _CorruptError(Exception):
    """The file is no sound SQLite database."""


class Database:
    """Connections to one database; one writer at a time, readers beside it.

    Args:
        engine: A connected engine; its tables exist.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = threading.Lock()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that only one thread at a time may have.

        Raises:
            StoreError: Nothing was written.
        """
        with self._writing, self.reading() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction.

        Raises:
            StoreError: The database does not answer.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            raise StoreError(f"database: {reason}") from error

    def upsert(
        self,
        connection: Connection,
        table: Table,
        *,
        rows: Sequence[dict[str, Any]],
        update: Sequence[str] = (),
    ) -> int:
        """Insert rows; where the primary key exists, set the columns *update* (none: keep).

        Returns:
            How many rows were inserted or set.
        """
        if not rows:
            return 0
        insert = (
            postgresql.insert(table)
            if connection.dialect.name == "postgresql"
            else sqlite.insert(table)
        )
        keys = [column.name for column in table.primary_key]
        if update:
            insert = insert.on_conflict_do_update(
                index_elements=keys, set_={name: insert.excluded[name] for name in update}
            )
        else:
            insert = insert.on_conflict_do_nothing(index_elements=keys)
        counted = {"preserve_rowcount": True}
        return connection.execute(insert, rows, execution_options=counted).rowcount


def open_database(url: str, *, now_text: str) -> Database:
    """Open a database, and bring its schema to this program's version.

    A corrupt SQLite file is set aside under another name, and a new one started.

    Args:
        url: An SQLAlchemy URL of SQLite or PostgreSQL.
        now_text: The time, as part of the other name.

    Raises:
        SettingsError: The URL is unusable, or its folder cannot be made.
        StoreError: The database does not answer, or a newer program made its schema.
    """
    path = _sqlite_path(url)
    try:
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Database(_connect(url))
    except OSError as error:
        raise SettingsError(f"database.url: {error}") from error
    except _CorruptError as error:
        if path is None:
            raise StoreError(str(error)) from error
        _set_aside(path, now_text=now_text, reason=str(error))
    return Database(_connect(url))


def _sqlite_path(url: str) -> Path | None:
    """Find the file of an SQLite URL; ``None`` for other databases.

    Raises:
        SettingsError: The URL is unusable.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise SettingsError(f"database.url: {error}") from error
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise SettingsError(f"database.url: {backend} is neither sqlite nor postgresql")
    if backend == "postgresql":
        return None
    if not parsed.database or parsed.database == ":memory:":
        raise SettingsError("database.url: an SQLite database must be a file")
    return Path(parsed.database)


def _connect(url: str) -> Engine:
    is_server = make_url(url).get_backend_name() == "postgresql"
    try:
        # A server may be restarted, or not answer at all; then so may the next attempt.
        engine = (
            create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": _CONNECT_S})
            if is_server
            else create_engine(url)
        )
    except (ImportError, NoSuchModuleError) as error:
        raise SettingsError(f"database.url: {error}") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_pragmas)
    try:
        _prepare(engine)
    except SQLAlchemyError as error:
        engine.dispose()
        reason = error.orig if isinstance(error, DBAPIError) else error
        if _code(reason) in _CORRUPT:
            raise _CorruptError(str(reason)) from error
        raise StoreError(f"{engine.url.render_as_string()}: {reason}") from error
    except UnicodeDecodeError as error:
        # SQLite's complaint about a damaged schema quotes the damage.
        engine.dispose()
        raise _CorruptError("its schema is damaged") from error
    except migrations.NewerSchemaError as error:
        engine.dispose()
        raise StoreError(f"{engine.url.render_as_string()}: {error}") from error
    except _CorruptError:
        engine.dispose()
        raise
    return engine


def _prepare(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            _check(connection)
    with engine.connect() as connection:
        is_versioned = migrations.current_version(connection) is not None
    try:
        with engine.connect() as connection, connection.begin():
            migrations.upgrade(connection)
    except OperationalError as error:
        # Tables by our names, but not our tables.
        if not is_versioned and _code(error.orig) == sqlite3.SQLITE_ERROR:
            raise _CorruptError(str(error.orig)) from error
        raise
    if engine.dialect.name == "sqlite":
        _check_columns(engine)
        Path(engine.url.database or "").chmod(0o600)


def _set_pragmas(connection: sqlite3.Connection, _: object) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _check(connection: Connection) -> None:
    found = connection.execute(text("PRAGMA quick_check(1)")).scalar()
    if found != "ok":
        raise _CorruptError(str(found))


def _check_columns(engine: Engine) -> None:
    inspector = inspect(engine)
    for table in METADATA.sorted_tables:
        missing = set(table.columns.keys()) - {
            column["name"] for column in inspector.get_columns(table.name)
        }
        if missing:
            raise _CorruptError(f"its table {table.name} has no column {min(missing)}")


def _code(error: BaseException | None) -> int:
    """Tell which kind of error SQLite met; 0 if it was not SQLite."""
    # The low byte is the error's kind; the rest says more about it.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _set_aside(path: Path, *, now_text: str, reason: str) -> None:
    aside = path.with_name(f"{path.name}.corrupt-{now_text}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    log.error(
        "database is corrupt: set aside, starting anew",
        extra=facts(path=str(path), aside=str(aside), reason=reason),
    )
