"""Where a storm takes place: servers of its own, and a cluster on them."""

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey
from shared.db.migrate import upgrade
from tests.chaos.rig.cluster import Cluster
from tests.chaos.storm.fault_plan import APIS, SCHEDULERS, WORKERS

#: A killed server loses nothing that the kernel has; pages may be torn, though.
_POSTGRES = {"fsync": "off", "max_wal_size": "256MB", "max_connections": "300"}
_SETTINGS = {"LOG_LEVEL": "INFO", "WORKER_GRACE_S": "3"}


@contextmanager
def scene(directory: Path, seed: int) -> Iterator[Cluster]:
    """Three schedulers, three workers, two APIs; started, not yet ready."""
    with (
        EmbeddedPostgres(directory / "postgres", settings=_POSTGRES) as postgres,
        EmbeddedValkey(directory / "valkey") as valkey,
    ):
        upgrade(postgres.url)
        cluster = Cluster(
            directory,
            postgres.url,
            valkey.url,
            postgres=postgres,
            valkey=valkey,
            stripe={"seed": seed},
            brevo={"seed": seed, "events_delay_s": 0.2},
            env=_SETTINGS,
        )
        try:
            for name in SCHEDULERS:
                cluster.start("scheduler", name)
            for name in WORKERS:
                cluster.start("worker", name)
            for name in APIS:
                cluster.start("api", name)
            yield cluster
        finally:
            with redirect_stdout(StringIO()):  # the ends of all logs, for tests
                cluster.__exit__(None, None, None)
