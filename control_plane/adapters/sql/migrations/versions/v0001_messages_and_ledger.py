"""Ledger, outbox, owners and fences; messages and their copies."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: None = None
depends_on: None = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_ledger()
    _create_messages()


def downgrade() -> None:
    for table in ("message_copies", "messages", "ledger_fences", "ledger_owners", "ledger"):
        op.drop_table(table)


def _create_ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("entry", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("command_id", sa.Text, nullable=False, unique=True),
        sa.Column("log_partition", sa.Integer, nullable=False),
        sa.Column("log_offset", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("taken_ms", sa.BigInteger, nullable=False),
        sa.Column("due_ms", sa.BigInteger, nullable=False),
        sa.Column("begun_ms", sa.BigInteger),
        sa.Column("finished_ms", sa.BigInteger),
        sa.Column("status", sa.Text),
        sa.Column("detail", sa.Text),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    live, still_open = sa.text("state < 2"), sa.text("state < 3")
    op.create_index("ledger_live", "ledger", ["subject", "entry"], sqlite_where=live, postgresql_where=live)
    op.create_index("ledger_open", "ledger", ["owner", "entry"], sqlite_where=still_open, postgresql_where=still_open)
    op.create_table(
        "ledger_owners",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("lease_until_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "ledger_fences",
        sa.Column("log_partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
    )


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("sequence", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("log_partition", sa.Integer, nullable=False),
        sa.Column("log_offset", sa.BigInteger, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("correlation_id", sa.Text, nullable=False),
        sa.Column("causation_id", sa.Text),
        sa.Column("occurred_ms", sa.BigInteger, nullable=False),
        sa.Column("recorded_ms", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("messages_position", "messages", ["topic", "log_partition", "log_offset"], unique=True)
    op.create_index("messages_identity", "messages", ["message_id", "source", "topic"], unique=True)
    op.create_index("messages_topic", "messages", ["topic", "sequence"])
    op.create_index("messages_type", "messages", ["type", "sequence"])
    op.create_index("messages_subject", "messages", ["subject", "sequence"])
    op.create_index("messages_flow", "messages", ["correlation_id", "sequence"])
    op.create_table(
        "message_copies",
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("log_partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("log_offset", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.create_index("message_copies_of", "message_copies", ["sequence"])
