"""Installs the flight recorder (`recorder.sql`) into a database under test. The product neither knows nor needs it."""

from pathlib import Path

from sqlalchemy import Connection, text

_SQL = Path(__file__).with_name("recorder.sql")


def install(connection: Connection) -> None:
    """Records every step from now on, in the schema `auditor`. Once per database, after its migration; the caller commits."""
    connection.exec_driver_sql(_SQL.read_text())


def is_installed(connection: Connection) -> bool:
    return connection.execute(text("SELECT to_regclass('auditor.run_steps')")).scalar_one() is not None
