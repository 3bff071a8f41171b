"""The schema's history: every version is made from the one before, so that no data is lost.

A new version is a new module in ``versions``; ``schema`` then says the same, which a test checks.
"""

import logging
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

_FOLDER: Final = Path(__file__).parent
_LOCK: Final = 0x61_69_73_63_68_65_64
"""Names the lock that programs which start at once take turns by; any number would do."""


class NewerSchemaError(Exception):
    """The database was made by a newer program."""


def current_version(connection: Connection) -> str | None:
    """Tell a database's version; ``None`` if it is empty, or from before there were versions."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(connection: Connection) -> None:
    """Bring a database to this program's version, or leave it as it is; all within a transaction.

    Args:
        connection: Nothing has been done with it yet; the caller commits.

    Raises:
        NewerSchemaError: The database's version is not known here.
    """
    if connection.dialect.name == "sqlite":
        # By itself the driver begins no transaction for what changes the schema.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    version = current_version(connection)
    versions = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in versions:
        raise NewerSchemaError(
            f"the database's schema is of version {version}, which a newer program made; this one"
            f" knows versions up to {max(versions)}"
        )
    # Two lines at every start say nothing that an operator could use.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
