"""The tables, as queries and migrations see them. Every change here needs a migration beside it."""

from typing import Final

import sqlalchemy as sa

HEAD: Final = "0002"
"""The newest migration: a database that says so is opened without asking Alembic."""

WAITING, BEGUN, FINISHED, PUBLISHED = range(4)
"""What a row of the ledger can be. Below FINISHED it is live; FINISHED is the outbox; below PUBLISHED it is open."""

metadata = sa.MetaData()

_Sequence = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("entry", _Sequence, primary_key=True, autoincrement=True),
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
_live = sa.text(f"state < {FINISHED}")
_open = sa.text(f"state < {PUBLISHED}")
_partial = {
    sa.Index("ledger_live", ledger.c.subject, ledger.c.entry): _live,
    sa.Index("ledger_open", ledger.c.owner, ledger.c.entry): _open,
}

ledger_owners = sa.Table(
    "ledger_owners",
    metadata,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("lease_until_ms", sa.BigInteger, nullable=False),
)

ledger_fences = sa.Table(
    "ledger_fences",
    metadata,
    sa.Column("log_partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("sequence", _Sequence, primary_key=True, autoincrement=True),
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
sa.Index("messages_position", messages.c.topic, messages.c.log_partition, messages.c.log_offset, unique=True)
sa.Index("messages_identity", messages.c.message_id, messages.c.source, messages.c.topic, unique=True)
sa.Index("messages_topic", messages.c.topic, messages.c.sequence)
sa.Index("messages_type", messages.c.type, messages.c.sequence)
sa.Index("messages_subject", messages.c.subject, messages.c.sequence)
sa.Index("messages_flow", messages.c.correlation_id, messages.c.sequence)

message_copies = sa.Table(
    "message_copies",
    metadata,
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("log_partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("log_offset", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
)
sa.Index("message_copies_of", message_copies.c.sequence)

trigger_positions = sa.Table(
    "trigger_positions",
    metadata,
    sa.Column("trigger_name", sa.Text, primary_key=True),
    sa.Column("position_key", sa.Text, primary_key=True),
    sa.Column("position", sa.Text, nullable=False),
)


def tables_for(dialect_name: str) -> sa.MetaData:
    """The tables as a database has them. Naming a database here loads all that SQLAlchemy knows of it, so each is
    named only where it is used."""
    for index, where in _partial.items():
        index.dialect_kwargs[f"{dialect_name}_where"] = where
    return metadata
