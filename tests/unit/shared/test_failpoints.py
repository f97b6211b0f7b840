"""Failpoints strike where and when they are told to, say so first, and are not there otherwise."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import failpoints
from shared.core.errors import ConfigError
from shared.failpoints import ACTIONS, Failpoint, FailpointError, Point, arm, failpoint, parse_failpoints
from shared.settings import ApiSettings, CliSettings, SchedulerSettings, Settings, WorkerSettings, load
from tests.wait import wait_until

ROOT = Path(__file__).parents[3]
KINDS: list[type[Settings]] = [SchedulerSettings, WorkerSettings, ApiSettings, CliSettings]
#: Passes one point twice, after the arming that every process does.
PASSES = """
import sys
from shared import failpoints, logs
from shared.failpoints import Point, failpoint
from shared.settings import Settings, load
settings = load(Settings)
logs.configure(settings, "test")
failpoints.arm(settings.cuebx_failpoints)
for turn in (1, 2):
    failpoint(Point.FIRE_COMMITTED)
    print(turn, flush=True)
"""


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm(())


def environment(value: str) -> dict[str, str]:
    return {
        "DATABASE_URL": "postgresql://host/database",
        "BREVO_API_KEY": "xkeysib-x",
        "BREVO_SENDER_EMAIL": "billing@example.com",
        "STRIPE_API_KEY": "sk_test_x",
        "LOG_DIR": "",
        "CUEBX_FAILPOINTS": value,
    }


def start(value: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PASSES],
        env=environment(value),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def strikes(text: str, passes: int) -> list[int]:
    """Which of so many passes strike."""
    arm(parse_failpoints(text))
    struck = []
    for number in range(1, passes + 1):
        try:
            failpoint(Point.RELAY_PUSHED)
        except FailpointError:
            struck.append(number)
    return struck


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        (" ; ", ()),
        ("fire.committed=kill", (Failpoint(Point.FIRE_COMMITTED, "kill"),)),
        ("stripe.answered=stop@3", (Failpoint(Point.STRIPE_ANSWERED, "stop", nth=3),)),
        ("relay.pushed=stall:0.5@2+", (Failpoint(Point.RELAY_PUSHED, "stall", 0.5, 2, True),)),
        (
            "claim.taken=error; claim.taken=kill@2;",
            (Failpoint(Point.CLAIM_TAKEN, "error"), Failpoint(Point.CLAIM_TAKEN, "kill", nth=2)),
        ),
    ],
)
def test_the_variable_names_point_action_seconds_and_pass(text: str, expected: tuple[Failpoint, ...]) -> None:
    assert parse_failpoints(text) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("fire.comitted=kill", "'fire.comitted' is no point; there are leader.acquired, "),
        ("fire.committed=explode", "'explode' is no action; there are kill, stop, stall, error"),
        ("fire.committed", "'fire.committed' is no failpoint; it looks like fire.committed=kill"),
        ("fire.committed=kill@0", "'fire.committed=kill@0' is no failpoint"),
        ("fire.committed=kill,relay.pushed=kill", "'fire.committed=kill,relay.pushed=kill' is no failpoint"),
        ("fire.committed=stall", "'fire.committed=stall': stall needs seconds, as in stall:5"),
        ("fire.committed=kill:5", "'fire.committed=kill:5': stall needs seconds, as in stall:5, and"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, kind: type[Settings], value: str, complaint: str
) -> None:
    for name, each in environment(value).items():
        monkeypatch.setenv(name, each)
    with pytest.raises(ConfigError) as refused:
        load(kind)
    assert str(refused.value).startswith(f"CUEBX_FAILPOINTS: {complaint}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
def test_production_refuses_failpoints(monkeypatch: pytest.MonkeyPatch, kind: type[Settings]) -> None:
    for name, each in environment("fire.committed=kill").items():
        monkeypatch.setenv(name, each)
    assert load(kind).cuebx_failpoints
    monkeypatch.setenv("ENVIRONMENT", "production")
    with pytest.raises(ConfigError, match=r"^CUEBX_FAILPOINTS: is set; .* refused in production$"):
        load(kind)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("relay.pushed=error", [1]),
        ("relay.pushed=error@3", [3]),
        ("relay.pushed=error@2+", [2, 3, 4]),
        ("relay.pushed=error; relay.pushed=error@4", [1, 4]),
        ("relay.before_push=error", []),
        ("", []),
    ],
)
def test_a_failpoint_strikes_at_the_pass_it_names(text: str, expected: list[int]) -> None:
    assert strikes(text, passes=4) == expected


def test_threads_that_pass_together_are_struck_once(monkeypatch: pytest.MonkeyPatch) -> None:
    struck: list[str] = []
    monkeypatch.setattr(failpoints, "ACTIONS", {**ACTIONS, "error": lambda name, _: struck.append(name)})
    arm(parse_failpoints("relay.pushed=error@40"))

    def pass_often() -> None:
        for _ in range(20):
            failpoint(Point.RELAY_PUSHED)

    threads = [threading.Thread(target=pass_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert struck == ["relay.pushed"]


def test_a_stall_blocks_its_thread_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    arm(parse_failpoints("sweep.before_commit=stall:5.5"))
    failpoint(Point.SWEEP_BEFORE_COMMIT)
    assert slept == [5.5]


def test_a_kill_is_logged_and_ends_the_process_before_its_next_line() -> None:
    output, errors = (process := start("fire.committed=kill@2")).communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert output == "1\n"
    struck = json.loads(errors.splitlines()[-1])
    assert (struck["event"], struck["name"], struck["action"]) == (
        "failpoint_struck",
        "fire.committed",
        "kill",
    )


def test_a_stop_lasts_until_the_process_is_continued() -> None:
    with start("fire.committed=stop") as process:
        stat = Path(f"/proc/{process.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 30, "the process stopped")
        process.send_signal(signal.SIGCONT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "1\n2\n")
    assert [json.loads(line)["event"] for line in errors.splitlines()] == [
        "failpoints_armed",
        "failpoint_struck",
    ]


def test_every_point_is_passed_in_one_place() -> None:
    folders = ("shared", "scheduler_svc", "worker_svc", "api_svc")
    sources = [path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py")]
    passed = [name for source in sources for name in re.findall(r"failpoint\(Point\.(\w+)\)", source)]
    assert sorted(passed) == sorted(Point.__members__)


def test_the_page_on_testing_has_every_point_and_action() -> None:
    rows = re.findall(r"^\| `([a-z._]+)` \|", (ROOT / "docs/testing.md").read_text(), re.MULTILINE)
    assert [row for row in rows if "." in row] == list(Point)
    assert set(ACTIONS) <= set(re.findall(r"`([a-z]+)[:`]", (ROOT / "docs/testing.md").read_text()))
