"""Indexes that keep reminders and reconciliation from growing slow with history."""

from importlib.resources import files

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql((files("migrations") / "versions" / "0002_indexes.sql").read_text())


def downgrade() -> None:
    raise RuntimeError("schemas are not taken back: the older code serves this one as well")
