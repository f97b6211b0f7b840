"""Celery on Redis: 8 threads, results ignored, 16 messages prefetched by each, acknowledged early, as it comes; no gossip."""

from collections.abc import Sequence

from celery import Celery
from tally import Enqueue, main, tally


def app_of(url: str) -> Celery:
    app = Celery("jobs", broker=url)
    app.conf.update(
        task_ignore_result=True,
        worker_prefetch_multiplier=16,
        worker_redirect_stdouts=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
    )

    @app.task(name="noop")
    def noop(number: int, sent_at: float = 0.0) -> None:
        tally.begins(number, sent_at)

    return app


async def connect(url: str) -> Enqueue:
    noop = app_of(url).tasks["noop"]

    async def enqueue(numbers: Sequence[int], sent_at: float) -> None:
        for number in numbers:
            noop.delay(number, sent_at)

    return enqueue


def work(url: str) -> None:
    app_of(url).worker_main(
        [
            "worker",
            "--pool",
            "threads",
            "--concurrency",
            "8",
            "--loglevel",
            "WARNING",
            "--without-gossip",
            "--without-mingle",
        ]
    )


if __name__ == "__main__":
    main(connect, work)
