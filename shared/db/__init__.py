"""PostgreSQL: connections, models, and the statements of the ledger."""
