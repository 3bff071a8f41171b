"""The tables of the predictor's database."""

from typing import Final

import sqlalchemy as sa

SCHEMA_VERSION: Final = 2
"""1: predictions, reports and how learning went; 2: models and leases, too."""

METADATA: Final = sa.MetaData()

_Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""Numbers itself; five hundred predictions a second use up 32 bits in fifty days."""

node_lists = sa.Table(
    "node_lists",
    METADATA,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("names", sa.LargeBinary, nullable=False, comment="JSON array"),
)
"""The nodes of a prediction, once for all predictions on the same nodes."""

predictions = sa.Table(
    "predictions",
    METADATA,
    sa.Column("seq", _Serial, primary_key=True),
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
    METADATA,
    sa.Column("id", _Serial, primary_key=True),
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
    METADATA,
    sa.Column("day", sa.Text, primary_key=True),
    sa.Column("n_predictions", sa.Integer, nullable=False),
    sa.Column("n_feedback", sa.Integer, nullable=False),
    sa.Column("n_successes", sa.Integer, nullable=False),
    sa.Column("n_judged", sa.Integer, nullable=False),
    sa.Column("squared_error", sa.Float, nullable=False, comment="sum over the judged"),
)

learning_events = sa.Table(
    "learning_events",
    METADATA,
    sa.Column("id", _Serial, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False, comment="drift or training"),
    sa.Column("content", sa.LargeBinary, nullable=False, comment="JSON, as it is answered"),
    sqlite_autoincrement=True,
)

model_versions = sa.Table(
    "model_versions",
    METADATA,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("record", sa.LargeBinary, nullable=False, comment="JSON"),
    sa.Column("content", sa.LargeBinary, nullable=False, comment="arrays, never a pickle"),
)
"""Trained models, those in service and those that one could roll back to."""

model_state = sa.Table(
    "model_state",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False, comment="always 1"),
    sa.Column("revision", sa.BigInteger, nullable=False, comment="grows with every change"),
    sa.Column("active_version", sa.Integer, nullable=False, comment="0: none is in service"),
    sa.Column("last_version", sa.Integer, nullable=False, comment="the highest ever given"),
)

leases = sa.Table(
    "leases",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("expires_at_s", sa.Float, nullable=False, comment="by the database's clock"),
)
"""What only one replica at a time may do."""

schema_version = sa.Table(
    "predictor_schema",
    METADATA,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
)
"""One row. Tables of the collector may stand beside ours, so the name says whose it is."""
