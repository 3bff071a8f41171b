"""The schema's versions, on every kind of database."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from collector.database import Database, StoreError, open_database
from collector.migrations import current_version
from collector.outcomes import Marks
from collector.records import Batch
from collector.schema import METADATA
from collector.store import Store


def open_here(url: str) -> Database:
    return open_database(url, now_text="now")


def fill(url: str) -> None:
    database = open_here(url)
    Store(database, first_seq=1).write(Batch(marks={"u1": Marks(n_restarts=7)}))
    database.close()


def execute(url: str, statement: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def read_marks(url: str) -> list[tuple[str, Marks]]:
    database = open_here(url)
    marks = Store(database, first_seq=1).marks()
    database.close()
    return marks


def test_versions_lead_to_the_schema_that_the_program_uses(database_url: str):
    database = open_here(database_url)

    with database.reading() as connection:
        assert current_version(connection) == "0002"
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    database.close()


def test_versions_lead_to_tables_as_strict_as_those_of_the_schema(tmp_path: Path):
    fresh = create_engine(f"sqlite:///{tmp_path}/fresh.db")
    METADATA.create_all(fresh)
    fresh.dispose()

    open_here(f"sqlite:///{tmp_path}/migrated.db").close()

    tables = tables_of(tmp_path / "migrated.db")
    assert tables.pop("alembic_version")
    assert tables == tables_of(tmp_path / "fresh.db")


def tables_of(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {name: " ".join(sql.split()) for name, sql in rows}


def test_a_database_from_before_there_were_versions_keeps_its_data(database_url: str):
    fill(database_url)
    execute(database_url, "DROP TABLE alembic_version")

    assert read_marks(database_url) == [("u1", Marks(n_restarts=7))]


def test_a_database_of_the_first_version_keeps_its_data(database_url: str):
    fill(database_url)
    execute(database_url, "ALTER TABLE placements DROP COLUMN created_at_s")
    execute(database_url, "ALTER TABLE placements DROP COLUMN ended_at_s")
    execute(database_url, "UPDATE alembic_version SET version_num = '0001'")

    assert read_marks(database_url) == [("u1", Marks(n_restarts=7))]
    execute(database_url, "SELECT created_at_s, ended_at_s FROM placements")


def test_what_an_interrupted_start_left_out_is_made_up_for(database_url: str):
    fill(database_url)
    execute(database_url, "DROP TABLE alembic_version")
    execute(database_url, "DROP TABLE placements")

    assert read_marks(database_url) == [("u1", Marks(n_restarts=7))]


def test_a_database_of_a_newer_program_is_refused_and_left_alone(database_url: str):
    fill(database_url)
    execute(database_url, "UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(StoreError, match="version 9999, which a newer program made"):
        open_here(database_url)

    execute(database_url, "UPDATE alembic_version SET version_num = '0002'")
    assert read_marks(database_url) == [("u1", Marks(n_restarts=7))]


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path):
    path = tmp_path / "collector.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE placements (something INT)")

    open_here(f"sqlite:///{path}").close()

    aside = tmp_path / "collector.db.corrupt-now"
    assert tables_of(aside) == {"placements": "CREATE TABLE placements (something INT)"}
