"""A disk that is full for PostgreSQL: its files cannot grow beyond a size, whatever is free for everybody else.

A limit of the kernel for each of the server's processes, set from outside while they run (prlimit(2)). It needs no mount,
and so works for root in a container as for an ordinary user; PostgreSQL fails where it does on a full disk, in extending a
file, only with another errno.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from local_stack.postgres import EmbeddedPostgres
from local_stack.unprivileged import server_user

#: A segment of the write-ahead log has this size and must fit: without it the server would end, which row 12 is about.
SMALLEST_BYTES = 16 * 1024 * 1024
# As the server's own user: limits of somebody else's process take a privilege that root in a container does not have.
_PRLIMIT = """
import os, resource, sys
user, limit, *pids = sys.argv[1:]
if user != "-":
    uid, gid = map(int, user.split(":"))
    os.setgroups([]); os.setgid(gid); os.setuid(uid)
for pid in pids:
    try:
        resource.prlimit(int(pid), resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    except ProcessLookupError:
        pass  # a connection that has ended
"""
_UNLIMITED = -1


@contextmanager
def full_disk(server: EmbeddedPostgres, file_bytes: int) -> Iterator[None]:
    """While it is held, no file of the server grows beyond `file_bytes`, whoever connects."""
    assert file_bytes >= SMALLEST_BYTES
    _limit(server, file_bytes)
    try:
        yield
    finally:
        _limit(server, _UNLIMITED)


def _limit(server: EmbeddedPostgres, limit: int) -> None:
    user = server_user(server.data_dir)
    who = "-" if user is None else f"{user.uid}:{user.gid}"
    # The postmaster first: what it starts from then on is born with the limit.
    for pids in ([server.pid], _children(server.pid)):
        command = [sys.executable, "-I", "-S", "-c", _PRLIMIT, who, str(limit), *map(str, pids)]
        subprocess.run(command, check=True, timeout=30)


def _children(parent: int) -> Sequence[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found
