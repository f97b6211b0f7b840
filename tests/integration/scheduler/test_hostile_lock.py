"""Locks that no scheduler made."""

import redis as redis_py

from scheduler_svc.leader_lock import LeaderLock
from shared.queue import keys
from tests.wait import wait_until


def test_a_lock_without_expiry_does_not_shut_everybody_out(redis_url: str) -> None:
    with redis_py.Redis.from_url(redis_url) as client:
        client.set(keys.LEADER, "somebody")
    lock = LeaderLock(redis_url, 0.3)
    assert lock.acquire() == 0.3
    wait_until(lambda: lock.acquire() == 0.0, 2, "acquired")
    lock.close()
