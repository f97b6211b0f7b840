"""`python -m api_svc`."""

import gc

gc.disable()  # until `run_process`: imports make no garbage, and looking for it takes a tenth of the start

from api_svc.bootstrap import main  # noqa: E402
from shared.process import run_process  # noqa: E402
from shared.settings import ApiSettings  # noqa: E402

if __name__ == "__main__":
    run_process("api", ApiSettings, main)
