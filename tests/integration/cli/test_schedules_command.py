import pytest

from tests.integration.cli.conftest import CommandLine


def test_a_schedule_is_added_shown_listed_and_removed(cuebx: CommandLine) -> None:
    added = cuebx.json("schedules", "add", "beat", "--job", "ping", "--every", "5m", "-a", "sleep_s=1")
    assert (added["store"], added["args"]) == ("maintenance", {"sleep_s": 1.0})
    shown = cuebx.json("schedules", "show", "beat")
    assert shown["trigger"]["every_s"] == 300
    assert len(shown["next_fires"]) == 3
    assert [each["id"] for each in cuebx.json("schedules", "list")] == ["beat"]
    assert "every 5m" in cuebx("schedules", "list").out
    assert cuebx("schedules", "remove", "beat").status == 0
    assert cuebx("schedules", "show", "beat").status == 1


def test_a_list_tells_how_it_goes_on_unless_removed_ones_ended_it(cuebx: CommandLine) -> None:
    for name in ("a", "b", "z"):
        cuebx.json("schedules", "add", name, "--job", "ping", "--every", "5m")
    assert "--after b" in cuebx("schedules", "list", "--limit", "2").err
    cuebx.sql(
        "INSERT INTO schedule_removals (id, store, actor) VALUES ('m', 'maintenance', 'ann') RETURNING id"
    )
    last = cuebx("schedules", "list", "--limit", "2", "--after", "b")
    assert "m" in last.out
    assert "there may be more" not in last.err


def test_each_option_of_a_schedule_reaches_its_row(cuebx: CommandLine) -> None:
    words = ("--cron", "30 2 * * *", "--tz", "Europe/Berlin", "--store", "refunds", "--misfire-grace", "10m")
    added = cuebx.json("schedules", "add", "nightly", "--job", "ping", *words, "--overlap", "allow")
    assert added["trigger"] == {"type": "cron", "expression": "30 2 * * *", "zone": "Europe/Berlin"}
    assert (added["store"], added["misfire_grace_s"], added["overlap"]) == ("refunds", 600, "allow")
    assert cuebx.sql("SELECT id FROM scheduler_refunds_jobs") == [("nightly",)]
    late = cuebx.json("schedules", "add", "late", "--job", "ping", "--every", "1h", "--catch-up")
    assert late["catch_up"] is True


def test_an_id_is_used_once_unless_it_is_replaced(cuebx: CommandLine) -> None:
    cuebx.json("schedules", "add", "beat", "--job", "ping", "--every", "5m")
    again = cuebx("schedules", "add", "beat", "--job", "ping", "--every", "10m")
    assert again.status == 1
    assert "beat" in again.err
    replaced = cuebx.json("schedules", "add", "beat", "--job", "ping", "--every", "10m", "--replace")
    assert replaced["trigger"]["every_s"] == 600


def test_a_paused_schedule_has_no_next_run_until_it_is_resumed(cuebx: CommandLine) -> None:
    cuebx.json("schedules", "add", "beat", "--job", "ping", "--every", "1h")
    paused = cuebx.json("schedules", "pause", "beat", "--reason", "holidays")
    assert (paused["paused"], paused["next_run_time"], paused["pause_reason"]) == (True, None, "holidays")
    assert "paused by cli" in cuebx("schedules", "list").out
    resumed = cuebx.json("schedules", "resume", "beat")
    assert resumed["paused"] is False
    assert resumed["next_run_time"] is not None


def test_a_manual_run_has_the_schedules_arguments_and_no_due_time(cuebx: CommandLine) -> None:
    cuebx.json("schedules", "add", "beat", "--job", "ping", "--every", "1h", "-a", "sleep_s=3")
    run = cuebx.json("schedules", "run", "beat")
    assert (run["schedule_id"], run["due_at"], run["args"]) == ("beat", None, {"sleep_s": 3.0})
    assert [each["id"] for each in cuebx.json("runs", "list", "--schedule", "beat")] == [run["id"]]


def test_a_preview_needs_no_schedule(cuebx: CommandLine) -> None:
    words = ("--cron", "0 2 1 1 *", "--tz", "Europe/Berlin", "-n", "2")
    fires = cuebx.json("schedules", "preview", *words)
    assert [fire[4:] for fire in fires] == ["-01-01T01:00:00Z"] * 2
    cuebx.json(
        "schedules", "add", "once", "--job", "ping", "--at", "2130-01-31T08:00", "--tz", "Europe/Berlin"
    )
    assert cuebx.json("schedules", "preview", "once") == ["2130-01-31T07:00:00Z"]


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (("--every", "5m", "--cron", "* * * * *"), 2, "give one of --every, --cron and --at"),
        ((), 2, "give one of --every, --cron and --at"),
        (("--every", "5"), 1, "--every: '5' is no duration"),
        (("--cron", "0 2 * *"), 1, "--cron: is '0 2 * *'; crontab(5) has five fields"),
        (("--cron", "0 2 * * *", "--tz", "Mars"), 1, "--tz: is no time zone: 'Mars'"),
        (("--at", "2130-01-31T08:00"), 2, "has no zone"),
        (("--at", "noon", "--tz", "UTC"), 1, "--at: is 'noon'"),
        (("--every", "5m", "--tz", "UTC"), 2, "--tz goes with --cron and --at"),
        (("--every", "5m", "-a", "slep=1"), 1, "unknown argument 'slep'"),
        (("--every", "5m", "--catch-up", "--overlap", "skip"), 1, "overlap must be queue"),
    ],
)
def test_what_makes_no_schedule_is_one_line_that_names_the_option(
    cuebx: CommandLine, words: tuple[str, ...], status: int, complaint: str
) -> None:
    answer = cuebx("schedules", "add", "x", "--job", "ping", *words)
    assert answer.status == status
    assert complaint in answer.err
    assert answer.err.count("\n") == 1
    assert cuebx.json("schedules", "list") == []


def test_an_unknown_schedule_is_status_1_for_every_command(cuebx: CommandLine) -> None:
    for verb in ("show", "pause", "resume", "run", "remove", "reset", "preview"):
        answer = cuebx("schedules", verb, "nobody")
        assert answer.status == 1
        assert "nobody" in answer.err
