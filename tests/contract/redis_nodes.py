"""Destinations of several nodes that share state on one Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.messaging.destination import MessageDestination
from adapters.redis_state.marks import RedisMarks
from adapters.redis_state.state import RedisState
from adapters.redis_state.tallies import RedisTallies
from router.errors import DestinationError
from tests.contract.message_promises import asked
from tests.contract.redis_by_hand import Unheard, settings
from tests.redis_server import RedisServer


@asynccontextmanager
async def node(server: RedisServer, made: MessageDestination, **more: Any) -> AsyncIterator[MessageDestination]:
    """A destination of a node with a connection of its own."""
    state = RedisState(settings(server, timeout="100ms", **more), Path(), Unheard())
    await state.open()
    made.share(RedisTallies(state), RedisMarks(state, "endpoints"))
    await made.open()
    try:
        yield made
    finally:
        await made.close()
        await state.close()


async def sent(made: MessageDestination, who: bytes = b"anna") -> str:
    try:
        await made.send(asked(b'"why?"', [(b"x-lockgate-subject", who)]))
    except DestinationError as error:
        return error.code
    return "sent"
