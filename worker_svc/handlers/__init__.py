"""Every handler there is, by its job's name."""

from collections.abc import Mapping
from typing import Final

from shared import jobs
from worker_svc.context import Handler
from worker_svc.handlers.cleanup import daily_cleanup
from worker_svc.handlers.ping import ping

HANDLERS: Final[Mapping[str, Handler]] = {
    jobs.PING.name: ping,
    jobs.DAILY_CLEANUP.name: daily_cleanup,
}
