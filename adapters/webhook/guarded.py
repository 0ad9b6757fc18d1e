"""Posting to wherever a name leads, but to no address that may not be connected to."""

from __future__ import annotations

import ssl
from functools import partial

import aiohttp
from aiohttp.abc import AbstractResolver

from adapters.messaging.destination import failure
from adapters.messaging.posting import Poster
from adapters.webhook.guard import AddressRefusedError, CheckedResolver, Guard, checked_socket
from router.errors import DestinationError


def guarded_poster(
    guard: Guard, own: AbstractResolver | None, *, connect: float, most: int, secure: ssl.SSLContext | None, server_name: str | None
) -> Poster:
    """The address is looked at when the name is resolved, and again when the socket is made. `own` resolves instead of the system."""
    return Poster(
        connect=connect,
        most=most,
        secure=secure,
        server_name=server_name,
        resolver=lambda: CheckedResolver(guard, own),
        socket_factory=partial(checked_socket, guard),
        translate=_refused,
    )


def _refused(error: BaseException) -> DestinationError | None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AddressRefusedError):
            return failure("endpoint_address_refused", str(cause))
        cause = cause.os_error if isinstance(cause, aiohttp.ClientConnectorError) else cause.__cause__
    return None
