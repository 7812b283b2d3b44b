"""How each run stands, as its driver last saw it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table of boards."""
    op.create_table(
        "boards",
        sa.Column("run", sa.String(200), sa.ForeignKey("runs.run"), primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
