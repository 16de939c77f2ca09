"""The ledger's statements, written once for every database.

Rows are live with `state < 2` and open with `state < 3`, as the partial indexes have it. An open row without an owner
is anybody's. Those that change rows take a batch as JSON: see `batches`.
"""

from dataclasses import dataclass
from typing import Self

import sqlalchemy as sa
from sqlalchemy import TextClause

from control_plane.adapters.sql.dialect import Fragments

_IN_BATCH = "IN (SELECT j.value->>0 FROM {each})"
_OWNER = "INSERT INTO ledger_owners (owner, lease_until_ms) VALUES (:owner, :until_ms) ON CONFLICT (owner)"
_ENTRY = "SELECT command_id, body, attempts, state, begun_ms FROM ledger AS e WHERE state < 2 AND state < 3 AND "
_OUTCOME = (
    "SELECT command_id, body, status, detail, attempts, begun_ms, finished_ms FROM ledger "
    "WHERE state = 2 AND state < 3 AND "
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerStatements:
    """Prepared once per ledger."""

    announce: TextClause
    appear: TextClause
    others: TextClause
    lapsed: TextClause
    disinherit: TextClause
    dismiss: TextClause
    known: TextClause
    epoch: TextClause
    raise_epoch: TextClause
    busy_subjects: TextClause
    heads: TextClause
    any_waiting: TextClause
    adopt: TextClause
    begin: TextClause
    disown: TextClause
    release: TextClause
    finish: TextClause
    standing: TextClause
    outbox: TextClause
    own_live: TextClause
    own_outbox: TextClause
    publish: TextClause
    prune: TextClause

    @classmethod
    def of(cls, pieces: Fragments) -> Self:
        each = pieces.each
        in_batch = _IN_BATCH.format(each=each)
        return cls(
            announce=sa.text(f"{_OWNER} DO UPDATE SET lease_until_ms = excluded.lease_until_ms"),
            appear=sa.text(f"{_OWNER} DO NOTHING"),
            others=sa.text(
                "SELECT owner FROM ledger_owners WHERE owner <> :owner UNION "
                "SELECT owner FROM ledger WHERE state < 3 AND owner IS NOT NULL AND owner <> :owner"
            ),
            lapsed=sa.text("SELECT owner FROM ledger_owners WHERE lease_until_ms <= :now_ms AND owner <> :owner"),
            disinherit=sa.text("UPDATE ledger SET owner = NULL WHERE owner = :gone AND state < 3"),
            dismiss=sa.text("DELETE FROM ledger_owners WHERE owner = :gone"),
            known=sa.text(f"SELECT command_id FROM ledger WHERE command_id {in_batch}"),
            epoch=sa.text("SELECT epoch FROM ledger_fences WHERE log_partition = :log_partition"),
            raise_epoch=sa.text(
                "INSERT INTO ledger_fences (log_partition, epoch) VALUES (:log_partition, :epoch) "
                "ON CONFLICT (log_partition) DO UPDATE SET epoch = excluded.epoch "
                "WHERE excluded.epoch > ledger_fences.epoch"
            ),
            busy_subjects=sa.text(
                f"SELECT DISTINCT subject FROM ledger WHERE state < 2 AND subject {in_batch} "
                "AND (owner IS NULL OR owner <> :owner)"
            ),
            heads=sa.text(
                f"{_ENTRY} owner IS NULL AND due_ms <= :now_ms "
                "AND NOT EXISTS (SELECT 1 FROM ledger AS f WHERE f.subject = e.subject AND f.state < 2 "
                "AND f.entry < e.entry) ORDER BY entry LIMIT :entries_max"
            ),
            any_waiting=sa.text("SELECT 1 FROM ledger WHERE owner IS NULL AND state < 2 AND state < 3 LIMIT 1"),
            adopt=sa.text(f"UPDATE ledger SET owner = :owner WHERE command_id {in_batch}"),
            begin=sa.text(
                "UPDATE ledger SET state = 1, attempts = CAST(j.value->>1 AS INT), "
                f"begun_ms = CAST(j.value->>2 AS BIGINT) FROM {each} "
                "WHERE command_id = j.value->>0 AND owner = :owner AND state < 2 "
                "AND NOT EXISTS (SELECT 1 FROM ledger AS f WHERE f.subject = ledger.subject AND f.state < 2 "
                "AND f.entry < ledger.entry AND (f.owner IS NULL OR f.owner <> :owner))"
            ),
            disown=sa.text(
                f"UPDATE ledger SET owner = NULL WHERE command_id {in_batch} AND owner = :owner AND state < 2"
            ),
            release=sa.text(
                "UPDATE ledger SET state = 0, attempts = CAST(j.value->>1 AS INT), "
                f"due_ms = CAST(j.value->>2 AS BIGINT) FROM {each} "
                "WHERE command_id = j.value->>0 AND owner = :owner AND state < 2"
            ),
            finish=sa.text(
                "UPDATE ledger SET state = 2, status = j.value->>1, detail = j.value->>2, "
                "attempts = CAST(j.value->>3 AS INT), begun_ms = CAST(j.value->>4 AS BIGINT), "
                f"finished_ms = CAST(j.value->>5 AS BIGINT) FROM {each} "
                "WHERE command_id = j.value->>0 AND owner = :owner AND state < 2"
            ),
            standing=sa.text(
                "SELECT command_id, state, attempts, begun_ms, finished_ms, status FROM ledger "
                f"WHERE command_id {in_batch} AND owner = :owner"
            ),
            outbox=sa.text(f"{_OUTCOME} owner IS NULL ORDER BY entry LIMIT :outcomes_max"),
            own_live=sa.text(f"{_ENTRY} owner = :owner ORDER BY entry"),
            own_outbox=sa.text(f"{_OUTCOME} owner = :owner ORDER BY entry"),
            publish=sa.text(f"UPDATE ledger SET state = 3 WHERE command_id {in_batch} AND state = 2"),
            # Rows stand in the order of their taking, so only the oldest few are looked at.
            prune=sa.text(
                "DELETE FROM ledger WHERE entry IN (SELECT entry FROM (SELECT entry, state, taken_ms FROM ledger "
                "ORDER BY entry LIMIT :entries_max) AS oldest WHERE state = 3 AND taken_ms < :before_ms)"
            ),
        )
