"""The predictor's SQLite database: its tables, and opening it whatever state it is in."""

import logging
import os
import sqlite3
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event

from kube.edge.logs import facts
from kube.edge.program import StartError

log = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 1

_metadata = sa.MetaData()

node_lists = sa.Table(
    "node_lists",
    _metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("names", sa.LargeBinary, nullable=False, comment="JSON array"),
)
"""The nodes of a prediction, once for all predictions on the same nodes."""

predictions = sa.Table(
    "predictions",
    _metadata,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("made_at_s", sa.Float, nullable=False),
    sa.Column("n_bytes", sa.Integer, nullable=False),
    sa.Column("node_list", sa.LargeBinary, nullable=False),
    sa.Column("p_success", sa.LargeBinary, comment="float32 (n_nodes,)"),
    sa.Column("vectors", sa.LargeBinary, nullable=False, comment="zlib of float32, by column"),
    sqlite_autoincrement=True,
)

feedback = sa.Table(
    "feedback",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("subject", sa.Text, unique=True, comment="one row per pod; null if unknown"),
    sa.Column("pod_uid", sa.Text, nullable=False),
    sa.Column("pod_namespace", sa.Text, nullable=False),
    sa.Column("pod_name", sa.Text, nullable=False),
    sa.Column("node", sa.Text, nullable=False),
    sa.Column("prediction_id", sa.Text),
    sa.Column("success", sa.Boolean, nullable=False),
    sa.Column("pod_status", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("made_at_s", sa.Float, nullable=False),
    sa.Column("decided_at_s", sa.Float, nullable=False),
    sa.Column("received_on", sa.Text, nullable=False, comment="day"),
    sa.Column("vector", sa.LargeBinary, comment="float32 (14,)"),
    sa.Column("p_success", sa.Float),
    sqlite_autoincrement=True,
)

daily = sa.Table(
    "daily",
    _metadata,
    sa.Column("day", sa.Text, primary_key=True),
    sa.Column("n_predictions", sa.Integer, nullable=False),
    sa.Column("n_feedback", sa.Integer, nullable=False),
    sa.Column("n_successes", sa.Integer, nullable=False),
    sa.Column("n_judged", sa.Integer, nullable=False),
    sa.Column("squared_error", sa.Float, nullable=False, comment="sum over the judged"),
)

learning_events = sa.Table(
    "learning_events",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False, comment="drift or training"),
    sa.Column("content", sa.LargeBinary, nullable=False, comment="JSON, as it is answered"),
    sqlite_autoincrement=True,
)


class DamagedDatabaseError(Exception):
    """The file is no database of ours, or is damaged: set it aside and start anew."""


def open_database(path: Path) -> sa.Engine:
    """Open the database, creating it if need be; a damaged one is set aside first.

    Raises:
        StartError: It is locked, or there is no room on the disk: not the file's fault.
        OSError: Its directory is not to be had.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return _open(path)
    except DamagedDatabaseError as error:
        aside = _set_aside(path)
        log.error(  # noqa: TRY400 - what matters is in the message; the traceback is ours
            "database set aside, starting with an empty one",
            extra=facts(file=str(path), set_aside_as=str(aside), reason=str(error)),
        )
    return _open(path)


def _open(path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _configure)
    try:
        with engine.begin() as connection:
            _check(connection)
            # First the version: whoever finds tables without it may know that they are not ours.
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
            _metadata.create_all(connection)
    except sa.exc.OperationalError as error:
        engine.dispose()
        raise StartError(f"{path}: {error.orig}") from error
    except sa.exc.DatabaseError as error:
        engine.dispose()
        raise DamagedDatabaseError(str(error.orig)) from error
    except UnicodeDecodeError as error:
        # SQLite's complaint about a damaged schema quotes the damage.
        engine.dispose()
        raise DamagedDatabaseError("its schema is damaged") from error
    except DamagedDatabaseError:
        engine.dispose()
        raise
    path.chmod(0o600)
    return engine


def _check(connection: sa.Connection) -> None:
    verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if verdict != "ok":
        raise DamagedDatabaseError(str(verdict))
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    is_new = version == 0 and not sa.inspect(connection).get_table_names()
    if version != SCHEMA_VERSION and not is_new:
        raise DamagedDatabaseError(f"its schema is version {version}, not {SCHEMA_VERSION}")


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in (
        "journal_mode = WAL",
        # A report must be on the disk, not only in the log's cache, before it is acknowledged.
        "synchronous = FULL",
        "busy_timeout = 5000",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _set_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{os.urandom(4).hex()}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
