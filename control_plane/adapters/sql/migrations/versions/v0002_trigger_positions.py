"""How far each trigger has come."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    op.create_table(
        "trigger_positions",
        sa.Column("trigger_name", sa.Text, primary_key=True),
        sa.Column("position_key", sa.Text, primary_key=True),
        sa.Column("position", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("trigger_positions")
