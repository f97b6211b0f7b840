"""`python -m scheduler_svc`"""

from scheduler_svc.bootstrap import main
from shared.process import run_process
from shared.settings import SchedulerSettings

if __name__ == "__main__":
    run_process("scheduler", SchedulerSettings, main)
