"""`cuebx up` as somebody uses it: a terminal of its own, commands in another, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest
import redis

from local_stack.ports import free_port
from tests.scratch import scratch_directory
from tests.wait import wait_until

CUEBX = [sys.executable, "-m", "cli.main"]
START_S = 60.0


class Terminal:
    """A directory in which a stack runs, and commands that find it there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "VIRTUAL_ENV") if name in os.environ}
        self.env = kept | {"LEADER_TTL_S": "1", "RUN_LEASE_S": "3"}
        self.up: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        with (self.directory / "log").open("wb") as log:
            self.up = subprocess.Popen(
                [*CUEBX, "up", "--api-port", str(free_port()), *options],
                cwd=self.directory,
                env=self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(lambda: self.said("Ctrl-C ends everything"), START_S, "the stack is up")

    def said(self, text: str) -> bool:
        assert self.up is not None
        log = (self.directory / "log").read_text()
        assert self.up.poll() is None, log
        return text in log

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CUEBX, *words],
            cwd=self.directory,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def json(self, *words: str) -> Any:
        done = self(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def sql(self, statement: str) -> Any:
        """The first column of the first row. A command would start a Python for each look at what is waited for."""
        with closing(psycopg2.connect(self.environment()["DATABASE_URL"])) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchone()[0]

    def end(self, signum: signal.Signals = signal.SIGINT) -> int:
        assert self.up is not None
        self.up.send_signal(signum)
        return self.up.wait(60)

    def left_behind(self) -> list[str]:
        """Processes that still have to do with this directory, by command line or working directory."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                at_home = (process / "cwd").readlink().is_relative_to(self.directory)
                state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state not in "ZX" and (at_home or str(self.directory) in command):
                found.append(command)
        return found

    def environment(self) -> dict[str, str]:
        lines = (self.directory / ".cuebx" / "env").read_text().splitlines()
        return dict(line.removeprefix("export ").split("=", 1) for line in lines)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with scratch_directory() as directory:
        terminal = Terminal(directory / "home")
        terminal.directory.mkdir()
        try:
            yield terminal
        finally:
            if terminal.up is not None and terminal.up.poll() is None:
                terminal.up.kill()
                terminal.up.wait()
            wait_until(lambda: not terminal.left_behind(), 30, "nothing is left")


def test_schedules_fire_what_is_killed_comes_back_and_ctrl_c_leaves_nothing(terminal: Terminal) -> None:
    terminal.start("--ephemeral")
    # A schedule fires, end to end.
    terminal.json("schedules", "add", "beat", "--job", "ping", "--every", "300ms")

    def succeeded() -> int:
        done = "SELECT count(*) FROM job_runs WHERE schedule_id = 'beat' AND state = 'succeeded'"
        return int(terminal.sql(done))

    wait_until(lambda: succeeded() >= 3, 30, "the schedule fires")
    listed = terminal.json("runs", "list", "--schedule", "beat", "--state", "succeeded")
    assert len(listed) >= 3
    assert terminal("doctor", "--ping").returncode == 0
    # The API is there, behind its token.
    variables = terminal.environment()
    with httpx.Client(base_url=f"http://127.0.0.1:{variables['API_PORT']}", trust_env=False) as http:
        body = {"job": "ping", "args": {}}
        assert http.post("/v1/runs", json=body).status_code == 401
        accepted = http.post(
            "/v1/runs", json=body, headers={"Authorization": f"Bearer {variables['API_TOKEN']}"}
        )
    assert accepted.is_success
    # The leader and a worker are killed: others take over, and both are started again.
    before = terminal.json("status")
    leader = before["leader"]
    worker = next(each for each in before["processes"] if each["kind"] == "worker")
    for name in (leader["holder"], worker["name"]):
        os.kill(int(name.rpartition(":")[2]), signal.SIGKILL)
    led = "SELECT max(term) FROM leader_terms"
    wait_until(lambda: terminal.sql(led) > leader["term"], 30, "somebody else leads")
    assert terminal.json("status")["leader"]["term"] > leader["term"]
    done = succeeded()
    wait_until(lambda: succeeded() > done, 30, "the schedule fires again")
    wait_until(lambda: terminal.said("ended by SIGKILL; starting it again"), 30, "what died is started again")
    # So are the servers.
    with redis.Redis.from_url(variables["REDIS_URL"]) as client:
        os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
    [postmaster] = (terminal.directory / ".cuebx").rglob("postmaster.pid")
    os.kill(int(postmaster.read_text().splitlines()[0]), signal.SIGKILL)
    wait_until(lambda: terminal.said("valkey          | is back"), 30, "Redis is back")
    wait_until(lambda: terminal.said("postgresql      | is back"), 30, "PostgreSQL is back")
    wait_until(lambda: terminal("doctor", "--ping").returncode == 0, 60, "all is well")
    # Ctrl-C.
    assert terminal.end() == 0
    assert terminal.left_behind() == []
    assert not (terminal.directory / ".cuebx" / "ephemeral").exists()
    assert not (terminal.directory / ".cuebx" / "env").exists()
    ended = [
        line for line in (terminal.directory / "log").read_text().splitlines() if "process_stopped" in line
    ]
    assert {line.split()[0] for line in ended} == {
        "api",
        "scheduler-1",
        "scheduler-2",
        "worker-1",
        "worker-2",
    }
    refused = terminal("status")
    assert (refused.returncode, "DATABASE_URL: is not set" in refused.stderr) == (2, True)


def test_data_outlives_a_stack_and_a_directory_serves_one(terminal: Terminal) -> None:
    terminal.start("--workers", "1", "--schedulers", "1")
    kept = terminal.json("enqueue", "ping")["id"]
    second = terminal("up")
    assert second.returncode == 1
    assert "a stack runs in .cuebx already" in second.stderr
    # Not even kill -9 leaves anything behind but the data.
    terminal.end(signal.SIGKILL)
    wait_until(lambda: not terminal.left_behind(), 30, "nothing is left")
    terminal.start("--workers", "1", "--schedulers", "1")
    assert terminal.json("runs", "show", kept)["id"] == kept
    # A signal waits for what runs; a second one does not.
    run = terminal.json("enqueue", "ping", "-a", "sleep_s=600")["id"]
    state = f"SELECT state FROM job_runs WHERE id = '{run}'"
    wait_until(lambda: terminal.sql(state) == "running", 30, "it runs")
    assert terminal.up is not None
    terminal.up.send_signal(signal.SIGTERM)
    wait_until(lambda: terminal.said("Ctrl-C again ends them now"), 30, "it is stopping")
    assert terminal.end() == 0
    assert terminal.left_behind() == []


def test_a_wrong_variable_is_one_line_and_leaves_nothing(terminal: Terminal) -> None:
    terminal.env["WORKER_MAX_JOBS"] = "many"
    done = terminal("up", "--ephemeral", "--workers", "1", "--schedulers", "1", "--api-port", "0")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: worker: WORKER_MAX_JOBS: ")
    assert terminal.left_behind() == []
