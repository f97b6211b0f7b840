"""`python -m worker_svc`: one worker process."""

from shared.process import run_process
from shared.settings import WorkerSettings
from worker_svc.bootstrap import run_worker

if __name__ == "__main__":
    run_process("worker", WorkerSettings, run_worker)
