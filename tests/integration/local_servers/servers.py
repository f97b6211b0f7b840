"""Both kinds of embedded servers: what they keep, and what runs of them."""

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis

from local_stack.postgres import EmbeddedPostgres
from local_stack.server_process import EmbeddedServer
from local_stack.valkey import EmbeddedValkey

KINDS = pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedValkey])


def execute(url: str, statement: str) -> list[Any]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def remember(server: EmbeddedServer) -> None:
    if isinstance(server, EmbeddedPostgres):
        execute(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    elif isinstance(server, EmbeddedValkey):
        with redis.Redis.from_url(server.url) as client:
            client.set("answer", 42)


def recall(server: EmbeddedServer) -> int:
    if isinstance(server, EmbeddedPostgres):
        return int(execute(server.url, "SELECT answer FROM kept")[0][0])
    assert isinstance(server, EmbeddedValkey)
    with redis.Redis.from_url(server.url) as client:
        return int(client.get("answer"))


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def children_of(url: str) -> list[int]:
    return [
        int(pid) for (pid,) in execute(url, "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    ]


def segments() -> list[str]:
    """Ids of System V shared memory, without what is only there until its last user leaves (key 0)."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return [identifier for key, identifier, *_ in map(str.split, lines) if key != "0"]
