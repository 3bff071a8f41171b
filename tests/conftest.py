"""Fixtures that more than one folder of tests uses."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import NoPostgresError, PostgresServer, postgres_server


@pytest.fixture
def unused_port() -> int:
    """A TCP port of loopback that was free a moment ago."""
    return _free_port()


@pytest.fixture
def uid() -> int:
    """The user that runs the tests."""
    return os.getuid()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; skips the test where none can be had."""
    try:
        with postgres_server(_free_port()) as server:
            yield server
    except NoPostgresError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, of each kind that the programs can use."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/below/collector.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
