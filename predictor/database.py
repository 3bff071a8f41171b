"""Opening the predictor's database, whatever state it is in, and taking turns to write to it.

It is an SQLite file of one replica or of several on one machine, or a PostgreSQL database that any
number of replicas share.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event

from kube.edge.logs import facts
from kube.edge.program import StartError
from kube.edge.settings import SettingsError
from predictor.schema import METADATA, SCHEMA_VERSION, schema_version

log = logging.getLogger(__name__)

_SETTING: Final = "data.database"
_WRITERS: Final = 0x70_72_65_64_69_63_74
"""Names the lock that writers of a PostgreSQL database take turns by; any number would do."""
_FILE_MARK: Final = 1
"""``user_version`` of an SQLite file of ours. It stays: versions of the schema only add tables."""
_CONNECT_S: Final = 5
_PRAGMAS: Final = (
    "busy_timeout = 5000",
    "journal_mode = WAL",
    # A report must be on the disk, not only in the log's cache, before it is acknowledged.
    "synchronous = FULL",
)


class DamagedDatabaseError(Exception):
    """The file is no database of ours, or is damaged: set it aside and start anew."""


class Database:
    """Connections to one database; safe to use from many threads.

    Args:
        engine: A connected engine; its tables exist.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._writing = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a connection to read by."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a transaction, of which there is one at a time over all threads and replicas.

        So what is read in it holds until it ends, and numbers that the database gives grow in the
        order in which others come to see their rows.
        """
        with self._writing, self._engine.begin() as connection:
            _take_turn(connection)
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def now_s(connection: sa.Connection) -> float:
    """Tell the time by the database's clock, which all replicas share; Unix seconds."""
    if connection.dialect.name == "postgresql":
        query = "SELECT extract(epoch FROM clock_timestamp())"
    else:
        query = "SELECT (julianday('now') - 2440587.5) * 86400.0"
    return float(connection.exec_driver_sql(query).scalar_one())


def check_url(url: str) -> None:
    """Check what can be told of a database's URL without asking it.

    Raises:
        SettingsError: It is not a URL of SQLite or PostgreSQL, or names no file.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise SettingsError(f"{_SETTING}: an SQLite database must be a file")


def open_database(url: str) -> Database:
    """Open the database, creating it if need be; a damaged SQLite file is set aside first.

    Args:
        url: An SQLAlchemy URL of SQLite or PostgreSQL.

    Raises:
        SettingsError: The URL is unusable.
        StartError: The database is locked, does not answer, has no room on the disk, or was made
            by a newer program: not the file's fault.
        OSError: Its directory is not to be had.
    """
    check_url(url)
    parsed = _parse(url)
    if parsed.get_backend_name() == "postgresql":
        return Database(_open(parsed))
    path = Path(parsed.database or "")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return Database(_open(parsed))
    except DamagedDatabaseError as error:
        aside = _set_aside(path)
        log.error(  # noqa: TRY400 - what matters is in the message; the traceback is ours
            "database set aside, starting with an empty one",
            extra=facts(file=str(path), set_aside_as=str(aside), reason=str(error)),
        )
    return Database(_open(parsed))


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise SettingsError(f"{_SETTING}: {error}") from error
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise SettingsError(f"{_SETTING}: {backend} is neither sqlite nor postgresql")
    return parsed


def _open(url: sa.URL) -> sa.Engine:
    with ExitStack() as stack:
        engine = _make_engine(url)
        stack.callback(engine.dispose)
        with _errors_translated(engine):
            _prepare(engine)
        stack.pop_all()
    return engine


def _prepare(engine: sa.Engine) -> None:
    is_file = engine.dialect.name == "sqlite"
    with engine.begin() as connection:
        if is_file:
            _check_content(connection)
        _take_turn(connection)
        if is_file:
            _mark_as_ours(connection)
        _bring_up_to_date(connection)
    if is_file:
        Path(engine.url.database or "").chmod(0o600)


@contextmanager
def _errors_translated(engine: sa.Engine) -> Iterator[None]:
    """Tell apart what is the file's fault.

    Raises:
        StartError: It is not.
        DamagedDatabaseError: It is.
    """
    is_file = engine.dialect.name == "sqlite"
    try:
        yield
    except sa.exc.DBAPIError as error:
        if is_file and not isinstance(error, sa.exc.OperationalError):
            raise DamagedDatabaseError(str(error.orig)) from error
        raise StartError(f"{engine.url.render_as_string()}: {error.orig}") from error
    except UnicodeDecodeError as error:
        # SQLite's complaint about a damaged schema quotes the damage.
        raise DamagedDatabaseError("its schema is damaged") from error


def _make_engine(url: sa.URL) -> sa.Engine:
    try:
        if url.get_backend_name() == "sqlite":
            engine = sa.create_engine(url)
            event.listen(engine, "connect", _configure_file)
            return engine
        # A server may be restarted, or not answer at all; then so may the next attempt.
        engine = sa.create_engine(
            url, pool_pre_ping=True, connect_args={"connect_timeout": _CONNECT_S}
        )
    except (ImportError, sa.exc.NoSuchModuleError) as error:
        raise SettingsError(f"{_SETTING}: {error}") from error
    event.listen(engine, "connect", _configure_server)
    return engine


def _configure_file(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _configure_server(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        # As long as SQLite's busy_timeout: whoever waits for it answers 503 then.
        cursor.execute("SET lock_timeout = '5s'")
    connection.commit()


def _take_turn(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":
        # By itself the driver begins a transaction only before the first change.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITERS)))


def _check_content(connection: sa.Connection) -> None:
    verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if verdict != "ok":
        raise DamagedDatabaseError(str(verdict))


def _mark_as_ours(connection: sa.Connection) -> None:
    mark = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    tables = set(sa.inspect(connection).get_table_names())
    if tables and not tables & set(METADATA.tables):
        raise StartError(
            f"{connection.engine.url.render_as_string()}: another program's tables are in it "
            f"({min(tables)}); name a file of the predictor's own as {_SETTING}"
        )
    if mark != _FILE_MARK and (mark or tables):
        raise DamagedDatabaseError(f"its user_version is {mark}, not {_FILE_MARK}")
    connection.exec_driver_sql(f"PRAGMA user_version = {_FILE_MARK}")


def _bring_up_to_date(connection: sa.Connection) -> None:
    schema_version.create(connection, checkfirst=True)
    version = connection.execute(sa.select(sa.func.max(schema_version.c.version))).scalar()
    if version is not None and version > SCHEMA_VERSION:
        raise StartError(
            f"the database's schema is of version {version}, which a newer program made; this one "
            f"knows versions up to {SCHEMA_VERSION}"
        )
    METADATA.create_all(connection)
    if version != SCHEMA_VERSION:
        connection.execute(schema_version.delete())
        connection.execute(schema_version.insert().values(version=SCHEMA_VERSION))


def _set_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{os.urandom(4).hex()}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
