"""What a worker counts, batch by batch."""

import pytest
from prometheus_client import CollectorRegistry, Histogram

from worker_svc.metrics import Durations

BUCKETS = (0.01, 0.5, 2.0)
AMOUNTS = [0.0, 0.01, 0.010001, 0.5, 1.0, 2.0, 2.1, 1e9, -1.0, 0.25]


def test_a_batch_is_counted_as_its_amounts_are_one_by_one() -> None:
    batch = Durations("seconds", "", ["job"], buckets=BUCKETS, registry=None)
    single = Histogram("seconds", "", ["job"], buckets=BUCKETS, registry=CollectorRegistry())

    batch.labels("a").observe_all(AMOUNTS[:4])
    batch.labels("a").observe_all([])
    batch.labels("a").observe_all(AMOUNTS[4:])
    for amount in AMOUNTS:
        single.labels("a").observe(amount)

    [ours], [theirs] = batch.collect(), single.collect()
    assert [(s.name, s.labels, s.value) for s in ours.samples if not s.name.endswith("_created")] == [
        (s.name, s.labels, pytest.approx(s.value)) for s in theirs.samples if not s.name.endswith("_created")
    ]
