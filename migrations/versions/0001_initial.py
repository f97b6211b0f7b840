"""The first schema: ledger, schedules, leadership, refunds, reminders, webhooks."""

from importlib.resources import files

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A percent sign in the script is only that: `no_parameters` keeps the driver from reading it as a placeholder.
    connection = op.get_bind().execution_options(no_parameters=True)
    connection.exec_driver_sql((files("migrations") / "versions" / "0001_initial.sql").read_text())


def downgrade() -> None:
    raise RuntimeError("the first schema is not taken back: drop the database instead")
