"""`python -m worker_svc`: one worker process."""

from shared.process import run_process
from shared.settings import WorkerSettings
from worker_svc.bootstrap import run_worker
from worker_svc.watchdog import exit_within

LEAVE_S = 2.0


async def main(settings: WorkerSettings) -> None:
    try:
        await run_worker(settings)
    finally:
        exit_within(LEAVE_S)


if __name__ == "__main__":
    run_process("worker", WorkerSettings, main)
