"""A PostgreSQL server of the tests' own, thrown away afterwards."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

_INSTALLED = Path("/usr/lib/postgresql")
"""Where Debian puts the programs, which it leaves out of the PATH; by version."""


class NoPostgresError(Exception):
    """There is no server to be had here; says why."""


class PostgresServer:
    """A server on loopback.

    Args:
        port: Where it listens.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._n_databases = 0

    def new_database(self) -> str:
        """Make an empty database; give its URL."""
        self._n_databases += 1
        name = f"t{self._n_databases}"
        admin = f"host=127.0.0.1 port={self._port} user=tests dbname=postgres"
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://tests@127.0.0.1:{self._port}/{name}"


@contextmanager
def postgres_server(port: int) -> Iterator[PostgresServer]:
    """Run a server on a free port until the block ends.

    Raises:
        NoPostgresError: It is not installed, or may not be run.
    """
    programs = _find_programs()
    user = _find_user()
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        if user is not None:
            shutil.chown(folder, user)
        data = Path(folder, "data")
        _run(programs / "initdb", "-U", "tests", "-A", "trust", "--no-sync", "-D", data, user=user)
        # Nothing here need outlive a power failure.
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        control = programs / "pg_ctl"
        _run(control, "start", "-w", "-D", data, "-l", f"{folder}/log", "-o", options, user=user)
        try:
            yield PostgresServer(port)
        finally:
            _run(control, "stop", "-m", "immediate", "-w", "-D", data, user=user)


def _find_programs() -> Path:
    found = shutil.which("pg_ctl")
    if found is not None:
        return Path(found).resolve().parent
    folders = sorted(_INSTALLED.glob("*/bin"), key=lambda path: int(path.parent.name))
    if not folders:
        raise NoPostgresError("PostgreSQL's server is not installed")
    return folders[-1]


def _find_user() -> str | None:
    """Name whom to run it as: it refuses root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise NoPostgresError("PostgreSQL refuses to be run by root, and there is no other user")


def _run(program: Path, *arguments: str | Path, user: str | None) -> None:
    command = [str(program), *map(str, arguments)]
    # A pipe would stay open as long as the server, which inherits it.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            command, user=user, stdout=output, stderr=output, cwd="/", check=False, timeout=60
        )
        if done.returncode != 0:
            output.seek(0)
            raise NoPostgresError(f"{program.name}: {output.read().strip()[-500:]}")
