"""The tables. Integers wherever possible: names are told once, in ``series``.

On SQLite they are STRICT and, where the primary key is the natural order, WITHOUT ROWID; on
PostgreSQL plain tables.
"""

from sqlalchemy import (
    REAL,
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

METADATA = MetaData()

# STRICT tables know no BIGINT and no DOUBLE, for SQLite's INTEGER and REAL are that wide anyway.
_BIG: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
_DOUBLE: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")

SERIES = Table(
    "series",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("subject", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("workload_id", Integer),  # of a pod
    Column("last_at_s", _BIG, nullable=False),  # kept to the hour, to forget what is long gone
    UniqueConstraint("subject", "name"),
    sqlite_strict=True,
)

SAMPLES = Table(
    "samples",
    METADATA,
    Column("at_ms", _BIG, primary_key=True),
    Column("series_id", Integer, primary_key=True),
    Column("cpu_milli", _BIG, nullable=False),
    Column("memory_bytes", _BIG, nullable=False),
    Column("is_starved", Integer, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

ROLLUPS = Table(
    "rollups",
    METADATA,
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
    Index("rollups_start_s", "start_s"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

TALLIES = Table(
    "tallies",
    METADATA,
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
)

PLACEMENTS = Table(
    "placements",
    METADATA,
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
    Column("created_at_s", _DOUBLE),
    Column("ended_at_s", _DOUBLE),
    Index("placements_placed_at_s", "placed_at_s"),
    Index("placements_fate", "fate"),
    sqlite_strict=True,
)

MARKS = Table(
    "marks",
    METADATA,
    Column("pod_uid", Text, primary_key=True),
    Column("n_restarts", Integer, nullable=False),
    Column("last_oom_at_s", _DOUBLE, nullable=False),
    Column("is_evicted", Integer, nullable=False),
    Column("fate", Integer, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
