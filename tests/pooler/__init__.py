"""Behind a pooler of transactions (`make pooler`): PgBouncer comes from Debian, so this is no part of `make test`."""
