"""Placements tell when the pod was asked for, and when it ended."""

from alembic import op
from sqlalchemy import REAL, Column, Double, inspect
from sqlalchemy.types import TypeEngine

revision = "0002"
down_revision = "0001"

_DOUBLE: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")


def upgrade() -> None:
    """Add the columns, but for those that a database which lost its version has already."""
    there = {column["name"] for column in inspect(op.get_bind()).get_columns("placements")}
    for name in ("created_at_s", "ended_at_s"):
        if name not in there:
            op.add_column("placements", Column(name, _DOUBLE))
