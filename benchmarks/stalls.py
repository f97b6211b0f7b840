"""How long a process's event loop stood still, as its own metric says (`shared.loop`)."""

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.process import Process

_NAME = "cuebx_event_loop_stall_seconds"


def stalls(process: Process) -> dict[float, int]:
    """How often for longer than each of the metric's bounds, in seconds, so far."""
    upto = {
        float(sample.labels["le"]): int(sample.value)
        for sample in _metric(process).samples
        if sample.name == f"{_NAME}_bucket"
    }
    return {bound: upto[float("inf")] - count for bound, count in upto.items()}


def stalled_s(process: Process) -> float:
    """Seconds so far, in stretches of over 10 ms."""
    return sum(sample.value for sample in _metric(process).samples if sample.name == f"{_NAME}_sum")


def _metric(process: Process) -> Metric:
    port = process.events("metrics_listening")[-1]["port"]
    page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    return next(family for family in text_string_to_metric_families(page) if family.name == _NAME)
