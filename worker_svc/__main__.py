"""`python -m worker_svc`: one worker process."""

import gc

gc.disable()  # until `run_process`: imports make no garbage, and looking for it takes a tenth of the start

from shared.process import run_process  # noqa: E402
from shared.settings import WorkerSettings  # noqa: E402
from worker_svc.bootstrap import run_worker  # noqa: E402

if __name__ == "__main__":
    run_process("worker", WorkerSettings, run_worker)
