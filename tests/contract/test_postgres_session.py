"""What is known of a question that a server did not answer."""

from __future__ import annotations

import asyncio

import pytest

from adapters.kept_reviews import KeptReviews
from adapters.postgres.members import PostgresMembers
from adapters.postgres.reviews import ReviewTables
from adapters.postgres.session import Session
from router.errors import AuditError, ReviewError
from tests.postgres_server import PostgresServer, running


def untouched(session: Session) -> bool:
    with pytest.raises(AuditError) as failed:
        session.run(lambda connection: connection.execute("SELECT 1"))
    return failed.value.untouched


async def test_nothing_was_done_where_no_session_could_be_had() -> None:
    """But of one that the server ended nobody knows it, also where no other could be had then."""
    with running() as server:
        session, reviews = Session(server.server(), patience=0.0), KeptReviews(_tables(server))
        session.run(lambda connection: connection.execute("SELECT 1"))
        await reviews.open()
        await asyncio.to_thread(server.stop, at_once=True)
        assert [untouched(session) for _ in range(2)] == [False, True]
        for known in (False, True):
            with pytest.raises(ReviewError) as failed:
                await reviews.get("one")
            assert failed.value.untouched is known
        await reviews.close()
        session.close()


def _tables(server: PostgresServer) -> ReviewTables:
    return ReviewTables(server.server(), PostgresMembers(server.server(), "a", "a"), patience=0.0)
