"""The tables as they were when versions began; a database that has them already is adopted."""

from alembic import op
from sqlalchemy import (
    REAL,
    BigInteger,
    Column,
    Double,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None

_BIG: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
_DOUBLE: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")


def upgrade() -> None:
    """Create what is missing."""
    _create_series()
    _create_samples()
    _create_rollups()
    _create_tallies()
    _create_placements()
    _create_marks()


def _create_series() -> None:
    op.create_table(
        "series",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("subject", Integer, nullable=False),
        Column("name", Text, nullable=False),
        Column("workload_id", Integer),
        Column("last_at_s", _BIG, nullable=False),
        UniqueConstraint("subject", "name"),
        sqlite_strict=True,
        if_not_exists=True,
    )


def _create_samples() -> None:
    op.create_table(
        "samples",
        Column("at_ms", _BIG, primary_key=True),
        Column("series_id", Integer, primary_key=True),
        Column("cpu_milli", _BIG, nullable=False),
        Column("memory_bytes", _BIG, nullable=False),
        Column("is_starved", Integer, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
        if_not_exists=True,
    )


def _create_rollups() -> None:
    op.create_table(
        "rollups",
        Column("series_id", Integer, primary_key=True),
        Column("start_s", _BIG, primary_key=True),
        Column("n", Integer, nullable=False),
        Column("cpu_mean", _DOUBLE, nullable=False),
        Column("cpu_max", _BIG, nullable=False),
        Column("cpu_m2", _DOUBLE, nullable=False),
        Column("cpu_buckets", LargeBinary, nullable=False),
        Column("memory_mean", _DOUBLE, nullable=False),
        Column("memory_max", _BIG, nullable=False),
        Column("memory_m2", _DOUBLE, nullable=False),
        Column("memory_buckets", LargeBinary, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    op.create_index("rollups_start_s", "rollups", ["start_s"], if_not_exists=True)


def _create_tallies() -> None:
    op.create_table(
        "tallies",
        Column("series_id", Integer, primary_key=True),
        Column("hour", Integer, primary_key=True),
        Column("n_observations", _BIG, nullable=False),
        Column("n_unstable", _BIG, nullable=False),
        Column("n_failures", _BIG, nullable=False),
        Column("n_restarts", _BIG, nullable=False),
        Column("n_oom_kills", _BIG, nullable=False),
        Column("n_evictions", _BIG, nullable=False),
        Column("n_samples", _BIG, nullable=False),
        Column("cpu_milli_sum", _DOUBLE, nullable=False),
        Column("memory_bytes_sum", _DOUBLE, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
        if_not_exists=True,
    )


def _create_placements() -> None:
    op.create_table(
        "placements",
        Column("pod_uid", Text, primary_key=True),
        Column("seq", _BIG, nullable=False, unique=True),
        Column("pod_namespace", Text, nullable=False),
        Column("pod_name", Text, nullable=False),
        Column("workload", Text, nullable=False),
        Column("node", Text, nullable=False),
        Column("cpu_milli", _BIG, nullable=False),
        Column("memory_bytes", _BIG, nullable=False),
        Column("placed_at_s", _DOUBLE, nullable=False),
        Column("state", LargeBinary, nullable=False),
        Column("fate", Integer, nullable=False),
        Column("reason", Text),
        Column("decided_at_s", _DOUBLE),
        sqlite_strict=True,
        if_not_exists=True,
    )
    op.create_index("placements_placed_at_s", "placements", ["placed_at_s"], if_not_exists=True)
    op.create_index("placements_fate", "placements", ["fate"], if_not_exists=True)


def _create_marks() -> None:
    op.create_table(
        "marks",
        Column("pod_uid", Text, primary_key=True),
        Column("n_restarts", Integer, nullable=False),
        Column("last_oom_at_s", _DOUBLE, nullable=False),
        Column("is_evicted", Integer, nullable=False),
        Column("fate", Integer, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
