import io
from threading import Thread

from local_stack.log_lines import LogLines


def test_each_line_stands_behind_its_program() -> None:
    stream = io.StringIO()
    LogLines(stream)("worker-1", "2030-01-31T08:00:00.123456Z [info     ] run_ended  job=ping")
    assert stream.getvalue() == "worker-1        | 08:00:00.123 info    run_ended  job=ping\n"


def test_lines_of_many_threads_do_not_mix() -> None:
    stream = io.StringIO()
    lines = LogLines(stream)
    threads = [Thread(target=lambda name=name: [lines(name, name * 50) for _ in range(100)]) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(stream.getvalue().splitlines()) == {f"{name:<15} | {name * 50}" for name in "ab"}


def test_a_screen_that_is_gone_stops_nobody() -> None:
    stream = io.StringIO()
    lines = LogLines(stream)
    stream.close()
    lines("worker-1", "still running")
