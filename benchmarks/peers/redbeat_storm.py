"""Celery beat with RedBeat: N entries due at once; beat sends each to Celery's queue in Redis.

`redbeat_storm.py - REDIS N` → {"seconds"}: from the due time until all N messages are in Redis.

Beat runs as its own process, logs from warnings on, results ignored, and looks at least once a second. (Plain beat keeps
its entries in a shelve file and manages some 25 a second of so many; it is left out.)
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

from celery import Celery
from celery.schedules import schedule
from redbeat import RedBeatSchedulerEntry
from redis import Redis

EVERY = timedelta(hours=1)
LEAD_S = 4.5  # beat takes a while to start

app = Celery("redbeat_storm", broker=os.environ.get("STORM_REDIS", "redis://localhost"))
app.conf.update(
    redbeat_redis_url=app.conf.broker_url,
    beat_max_loop_interval=1,
    redbeat_lock_timeout=300,  # a tick with this many entries outlasts five loop intervals, and beat with it
    task_ignore_result=True,
    timezone="UTC",
    broker_connection_retry_on_startup=True,
)


@app.task(name="noop")
def noop(number: int) -> None:
    pass


def storm(redis_url: str, n: int) -> dict[str, float]:
    redis = Redis.from_url(redis_url)
    redis.flushdb()
    due = datetime.now(UTC) + timedelta(seconds=LEAD_S + n / 1500)
    for number in range(n):
        RedBeatSchedulerEntry(
            f"entry-{number}",
            "noop",
            schedule(EVERY, app=app),
            args=[number],
            app=app,
            last_run_at=due - EVERY,
        ).save()
    beat = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "redbeat_storm", "beat", "-S", "redbeat.RedBeatScheduler", "-l", "WARNING",
         "--pidfile="],
        env={**os.environ, "STORM_REDIS": redis_url},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        if redis.llen("celery"):
            raise RuntimeError("some were sent before they were due")
        give_up = time.monotonic() + 240
        while redis.llen("celery") < n:
            if time.monotonic() > give_up or beat.poll() is not None:
                raise RuntimeError(f"{redis.llen('celery')} of {n} sent, beat {beat.poll()}")
            time.sleep(0.01)
        seconds = time.time() - due.timestamp()
    finally:
        beat.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            beat.wait(5)
        beat.kill()
    sent = {json.dumps(json.loads(raw)["headers"]["argsrepr"]) for raw in redis.lrange("celery", 0, -1)}
    redis.flushdb()
    return {"seconds": seconds, "distinct": len(sent)}


if __name__ == "__main__":
    os.environ["STORM_REDIS"] = sys.argv[2]
    app.conf.update(broker_url=sys.argv[2], redbeat_redis_url=sys.argv[2])
    print(json.dumps(storm(sys.argv[2], int(sys.argv[3]))))  # noqa: T201  # the answer
