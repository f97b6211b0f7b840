"""What each account asks of Redis, from MONITOR, and a Valkey that enforces the accounts of deploy/redis/users.acl."""

import hashlib
import re
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import redis

from local_stack.valkey import EmbeddedValkey

ACL_FILE = Path(__file__).parents[2] / "deploy" / "redis" / "users.acl"
PASSWORD = "p@ss/word: of this account"
ADMIN = "user admin on >admin ~* &* +@all"

Command = tuple[str, ...]
_LINE = re.compile(r"^\+?[\d.]+ \[\d+ ([^\]]+)\] (.*)$")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b"}


def accounts() -> dict[str, list[str]]:
    """The file's accounts and their rules, in its order."""
    lines = [line.split() for line in ACL_FILE.read_text().splitlines()]
    return {words[1]: words[2:] for words in lines}


@contextmanager
def guarded_valkey(directory: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey with the file's accounts, all with PASSWORD, and one `admin` of the test's own."""
    # Empty at first: the launcher asks the server who it is, which nobody may do later on.
    file = directory / "guarded.acl"
    file.write_text("")
    settings = {"aclfile": str(file)}
    with EmbeddedValkey(directory / "guarded", appendonly=False, settings=settings) as server:
        password = hashlib.sha256(PASSWORD.encode()).hexdigest()
        file.write_text(f"{ACL_FILE.read_text().replace(' resetpass ', f' #{password} ')}{ADMIN}\n")
        with redis.Redis.from_url(server.url) as client:
            client.acl_load()
        yield server


def url_for(server: EmbeddedValkey, account: str) -> str:
    """As an operator would write it, plus the name that MONITOR shows."""
    return f"redis://{account}:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/0?client_name={account}"


def admin(server: EmbeddedValkey) -> "redis.Redis[str]":
    return redis.Redis(port=server.port, username="admin", password="admin", decode_responses=True)


class Traffic:
    """Every command until it is closed, by the account that sent it, those of Lua scripts included.

    MONITOR names connections, not accounts: each client has to call itself like its account.
    """

    def __init__(self, server: EmbeddedValkey) -> None:
        self.commands: defaultdict[str, set[Command]] = defaultdict(set)
        self._socket = socket.create_connection(("127.0.0.1", server.port))
        self._socket.sendall(b"AUTH admin admin\r\nMONITOR\r\n")
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()

    def _read(self) -> None:
        names: dict[str, str] = {}
        speaker = ""
        for line in self._socket.makefile("r", encoding="latin-1"):
            matched = _LINE.match(line.rstrip("\r\n"))
            if matched is None:
                continue
            client, command = matched[1], tuple(_unescaped(word) for word in _WORD.findall(matched[2]))
            if command[:2] == ("CLIENT", "SETNAME"):
                names[client] = command[2]
            if client != "lua":  # a script's commands follow it
                speaker = names.get(client, "")
            self.commands[speaker].add(command)


def refused(server: "redis.Redis[Any]", account: str, command: Command) -> bool:
    return server.execute_command("ACL", "DRYRUN", account, *command) not in ("OK", b"OK")


@contextmanager
def account_of(server: "redis.Redis[Any]", name: str, rules: list[str]) -> Iterator[str]:
    server.execute_command("ACL", "SETUSER", name, "reset", *rules)
    yield name
    server.execute_command("ACL", "DELUSER", name)


def _unescaped(word: str) -> str:
    def one(escape: re.Match[str]) -> str:
        code = escape[1]
        return chr(int(code[1:], 16)) if len(code) == 3 else _ESCAPES.get(code, code)

    return _ESCAPE.sub(one, word)
