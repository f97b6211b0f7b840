"""The lock, and how a holder notices that it is gone."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
import redis as redis_py

from local_stack.valkey import EmbeddedValkey
from scheduler_svc.leader_lock import LeaderLock
from scheduler_svc.leadership import Leadership, NotLeading
from shared.queue import keys
from tests.wait import wait_until

pytestmark = pytest.mark.rule(16)

TTL_S = 0.9


@pytest_asyncio.fixture
async def leadership(redis_url: str) -> AsyncIterator[Leadership]:
    lock = LeaderLock(redis_url, TTL_S)
    started = time.monotonic()
    assert lock.acquire() == 0.0
    leadership = Leadership(lock, started)
    leadership.begin()
    yield leadership
    await leadership.end()
    lock.close()


def _trusted(leadership: Leadership) -> bool:
    try:
        leadership.check()
    except NotLeading:
        return False
    return True


def test_only_one_holds_the_lock_and_the_others_learn_for_how_long(redis_url: str) -> None:
    first, second = LeaderLock(redis_url, TTL_S), LeaderLock(redis_url, TTL_S)
    assert first.acquire() == 0.0
    assert 0 < second.acquire() <= TTL_S
    assert not second.release()  # compare-and-delete: not its own
    assert second.acquire() > 0
    assert first.release()
    assert second.acquire() == 0.0
    first.close()
    second.close()


def test_a_lock_that_is_not_renewed_expires(redis_url: str) -> None:
    first, second = LeaderLock(redis_url, 0.2), LeaderLock(redis_url, 0.2)
    first.acquire()
    wait_until(lambda: second.acquire() == 0.0, timeout=2)
    first.close()
    second.close()


def test_release_tells_the_standbys(redis_url: str) -> None:
    lock = LeaderLock(redis_url, TTL_S)
    with (
        redis_py.Redis.from_url(redis_url) as client,
        client.pubsub(ignore_subscribe_messages=True) as listening,
    ):
        listening.subscribe(keys.LEADER_CHANNEL)
        listening.get_message(timeout=1)
        lock.acquire()
        lock.release()
        assert wait_until(lambda: listening.get_message(timeout=0.05)) is not None
    lock.close()


async def test_leadership_is_renewed_beyond_its_ttl(leadership: Leadership) -> None:
    began = time.monotonic()
    while time.monotonic() - began < 2 * TTL_S:
        leadership.check()
        await asyncio.sleep(0.02)
    assert not leadership.lost.is_set()


async def test_a_refused_renewal_ends_the_term_at_once(leadership: Leadership, redis_url: str) -> None:
    """Given a lock that somebody deleted and another took, then the holder knows within a renewal, not a TTL."""
    with redis_py.Redis.from_url(redis_url) as client:
        client.set(keys.LEADER, "somebody else")
    began = time.monotonic()
    async with asyncio.timeout(5):
        await leadership.lost.wait()
    assert leadership.why == "refused"
    assert time.monotonic() - began < TTL_S
    with pytest.raises(NotLeading):
        leadership.check()


async def test_a_stalled_event_loop_loses_leadership(leadership: Leadership) -> None:
    """While the loop hangs nothing is renewed, so that a standby can take over."""
    began = time.monotonic()
    wait_until(lambda: not _trusted(leadership), timeout=5)  # not awaited: the loop stands still
    assert time.monotonic() - began < 2.5 * TTL_S
    async with asyncio.timeout(5):
        await leadership.lost.wait()
    assert leadership.why == "loop_stalled"


async def test_without_an_answer_trust_lasts_to_its_deadline_and_no_longer(
    private_valkey: Callable[..., EmbeddedValkey],
) -> None:
    server = private_valkey(appendonly=False)
    lock = LeaderLock(server.url, TTL_S)
    granted_at = time.monotonic()
    assert lock.acquire() == 0.0
    server.kill()
    leadership = Leadership(lock, granted_at)
    leadership.begin()
    trusted_until = 0.0
    while True:
        asked = time.monotonic() - granted_at
        if not _trusted(leadership):
            break
        trusted_until = asked
        await asyncio.sleep(0.01)
    not_trusted_at = time.monotonic() - granted_at
    deadline = TTL_S * 5 / 6
    assert trusted_until < deadline < not_trusted_at
    async with asyncio.timeout(5):
        await leadership.lost.wait()
    assert leadership.why == "unanswered"
    await leadership.end()
    lock.close()
