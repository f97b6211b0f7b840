"""`python -m api_svc`."""

from api_svc.bootstrap import main
from shared.process import run_process
from shared.settings import ApiSettings

if __name__ == "__main__":
    run_process("api", ApiSettings, main)
