"""`python -m scheduler_svc`"""

import gc

gc.disable()  # until `run_process`: imports make no garbage, and looking for it takes a tenth of the start

from scheduler_svc.bootstrap import main  # noqa: E402
from shared.process import run_process  # noqa: E402
from shared.settings import SchedulerSettings  # noqa: E402

if __name__ == "__main__":
    run_process("scheduler", SchedulerSettings, main)
