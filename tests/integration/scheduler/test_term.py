"""A term's number is for who leads: the newest one is shown as the leader's."""

import asyncio
from typing import cast
from unittest.mock import Mock

import pytest
from redis.asyncio import Redis
from sqlalchemy import Engine

from scheduler_svc.leadership import Leadership, NotLeading
from scheduler_svc.outages import Outages
from scheduler_svc.term import Resources, Term, lead
from shared.db.engine import Database
from shared.queue.transport import RedisTransport
from tests.integration.scheduler.books import Books


class LostAfter:
    """A lock that is lost after so many questions."""

    def __init__(self, questions: int) -> None:
        self._left = questions
        self.lost = asyncio.Event()

    def check(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise NotLeading("the lock expired meanwhile")


@pytest.mark.rule(16)
@pytest.mark.parametrize("questions", [0, 1], ids=["before its number", "while it took its number"])
async def test_who_lost_the_lock_before_its_term_began_leaves_no_term(
    questions: int,
    engine: Engine,
    database: Database,
    redis_client: Redis,
    transport: RedisTransport,
    outages: Outages,
    books: Books,
) -> None:
    resources = Resources(engine, database, redis_client, transport, outages, [], 3.0, 15.0, 2.25)
    began = Mock()
    with pytest.raises(NotLeading):
        await lead(cast(Leadership, LostAfter(questions)), resources, "somebody", began)
    assert books.run("SELECT * FROM leader_terms") == []
    began.assert_not_called()


class StoodStill(LostAfter):
    """The lock of a process that was stopped beyond its TTL and has just woken up."""

    trusted, why = False, ""

    def __init__(self) -> None:
        super().__init__(0)


async def test_a_leader_that_was_stopped_does_not_say_that_postgresql_was_silent(
    engine: Engine, database: Database, redis_client: Redis, transport: RedisTransport, outages: Outages
) -> None:
    """Others need not wait for it to try again, as they would for one that cannot reach PostgreSQL."""
    resources = Resources(engine, database, redis_client, transport, outages, [], 3.0, 15.0, 2.25)
    outages.postgres_answered_at = float("-inf")
    outages.postgres_failed(ConnectionResetError("its transaction was ended meanwhile"))

    term = Term(1, cast(Leadership, StoodStill()), resources)

    assert await asyncio.wait_for(term.serve(), 10) == "untrusted"
