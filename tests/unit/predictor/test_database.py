import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import sqlalchemy as sa

from kube.edge.program import StartError
from kube.edge.settings import SettingsError
from predictor.database import open_database
from predictor.leases import Lease
from predictor.schema import METADATA, daily, schema_version


@pytest.fixture
def database(database_url):
    opened = open_database(database_url)
    yield opened
    opened.close()


def test_replicas_may_start_at_once(database_url):
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: open_database(database_url), range(4)))

    with opened[0].reading() as connection:
        names = set(sa.inspect(connection).get_table_names())
    assert names == set(METADATA.tables)
    for database in opened:
        database.close()


def test_a_newer_schema_is_refused_and_left_alone(database_url):
    database = open_database(database_url)
    with database.writing() as connection:
        connection.execute(schema_version.update().values(version=99))
    database.close()

    for _ in range(2):
        with pytest.raises(StartError, match="version 99, which a newer program made"):
            open_database(database_url)


def test_a_file_of_another_program_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "collector.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table samples (at_s real)")

    with pytest.raises(StartError, match="another program's tables are in it"):
        open_database(f"sqlite:///{path}")

    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(("-wal", "-shm"))] == [
        "collector.db"
    ]


def test_a_file_of_the_release_before_keeps_what_it_holds(tmp_path):
    path = tmp_path / "predictor.db"
    open_database(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table in ("predictor_schema", "leases", "model_state", "model_versions"):
            connection.execute(f"drop table {table}")
        connection.execute("insert into daily values ('2026-01-01', 1, 2, 3, 4, 5.0)")

    database = open_database(f"sqlite:///{path}")

    with database.reading() as connection:
        assert connection.execute(sa.select(daily.c.n_feedback)).scalar() == 2
        assert sa.inspect(connection).has_table("model_versions")
    database.close()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("mysql://host/name", "mysql is neither sqlite nor postgresql"),
        ("sqlite://", "must be a file"),
        ("no url", "data.database: "),
        ("postgresql+nosuch://host/name", "data.database: "),
    ],
)
def test_a_url_that_is_unusable_is_a_mistake_in_the_settings(url, what):
    with pytest.raises(SettingsError, match=what) as refused:
        open_database(url)
    assert str(refused.value).startswith("data.database: ")


def test_a_server_that_does_not_answer_is_said_to_without_its_password(unused_port):
    url = f"postgresql+psycopg://user:secret@127.0.0.1:{unused_port}/name"

    with pytest.raises(StartError, match="refused") as refused:
        open_database(url)

    assert "secret" not in str(refused.value)


def test_goes_on_when_the_server_has_ended_its_connections(postgres):
    database = open_database(postgres.new_database())
    ours = sa.text(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    with database.reading(), database.reading():
        pass  # two connections, kept for later
    with database.reading() as connection:
        connection.execute(ours)

    for _ in range(2):
        with database.writing() as one, database.reading() as other:
            assert one.execute(sa.select(daily)).all() == []
            assert other.execute(sa.select(daily)).all() == []
    database.close()


def test_writers_of_all_replicas_take_turns(database, database_url):
    """Each reads a sum and writes it back; without turns, some would be lost."""
    other = open_database(database_url)
    with database.writing() as connection:
        connection.execute(daily.insert().values(day="d", **dict.fromkeys(COUNTS, 0)))

    def add(replica):
        for _ in range(25):
            with replica.writing() as connection:
                n = connection.execute(sa.select(daily.c.n_feedback)).scalar_one()
                connection.execute(daily.update().values(n_feedback=n + 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, [database, other, database, other]))

    with other.reading() as connection:
        assert connection.execute(sa.select(daily.c.n_feedback)).scalar_one() == 100
    other.close()


COUNTS = ["n_predictions", "n_feedback", "n_successes", "n_judged", "squared_error"]


def test_one_replica_at_a_time_holds_a_lease(database):
    one, other = (Lease(database, name="training", duration_s=60.0) for _ in range(2))

    assert one.acquire()
    assert one.acquire()
    assert not other.acquire()
    other.release()
    assert not other.acquire()
    one.release()
    assert other.acquire()


def test_a_lease_runs_out(database):
    dead, other = Lease(database, name="a", duration_s=0.0), Lease(database, name="a", duration_s=9)
    assert dead.acquire()

    assert other.acquire()
    assert not dead.acquire()
