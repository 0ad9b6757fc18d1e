"""The one place where what the client library raises becomes ours. The broker's texts are not repeated: they may hold what callers sent."""

from __future__ import annotations

import re
import ssl

from aiormq import exceptions
from aiormq.exceptions import AMQPError

from adapters.messaging.destination import failure
from router.errors import DestinationError

TOO_LARGE = re.compile(r"message size (\d+)")
GONE = (AMQPError, exceptions.ChannelInvalidStateError, OSError, EOFError)
"""What the library raises when a connection or a channel fails."""


def connecting(error: BaseException, who: str) -> DestinationError:
    """Nothing was sent yet."""
    causes = [error, error.__cause__]
    if any(isinstance(each, ssl.SSLError) for each in causes):
        return failure("tls_failed", f"no TLS connection with {who} could be made")
    if isinstance(error, exceptions.AuthenticationError | exceptions.ProbableAuthenticationError):
        return failure("upstream_denied", f"{who} does not accept our credential")
    if isinstance(error, exceptions.ConnectionNotAllowed | exceptions.InvalidFrameError):
        # The library loses the code of a connection that is closed instead of being opened.
        return failure("upstream_denied", f"{who} does not let us into this virtual host: it is not there, not ours, or full")
    if isinstance(error, TimeoutError):
        return failure("connect_timeout", f"{who} did not accept a connection in time")
    if isinstance(error, OSError) and not isinstance(error, AMQPError):
        return failure("connect_failed", f"{who} cannot be reached")
    return failure("connect_failed", f"{who} did not accept a connection ({type(error).__name__})")


def asking(error: BaseException, who: str, what: str) -> DestinationError:
    """`what` was asked for; a channel of its own failed, so it was about nothing else."""
    if isinstance(error, exceptions.ChannelNotFoundEntity):
        return failure("upstream_refused", f"{who} has no {what}")
    if isinstance(error, exceptions.ChannelAccessRefused):
        return failure("upstream_denied", f"{who} does not let us use the {what}")
    if isinstance(error, exceptions.ChannelPreconditionFailed):
        return failure("upstream_refused", f"{who} has another {what} than the settings say")
    if isinstance(error, exceptions.ChannelLockedResource):
        return failure("upstream_unavailable", f"the {what} of {who} is another's for now")
    return failure("upstream_reset", f"{who} closed the connection")


def publishing(error: BaseException, who: str, exchange: str, size: int) -> DestinationError:
    """A channel that fails takes all messages with it that are under way on it, whoever is to blame."""
    if isinstance(error, exceptions.PublishError):
        return failure("upstream_refused", f"{who} has no queue for this routing key")
    if isinstance(error, exceptions.DeliveryError):
        # A queue that is full, or a fault: other queues of the exchange may have it.
        return failure("upstream_unavailable", f"{who} did not accept the message", sent=True)
    if isinstance(error, exceptions.ChannelNotFoundEntity | exceptions.ChannelAccessRefused):
        return asking(error, who, f"exchange '{exchange}'")
    told = TOO_LARGE.search(str(error)) if isinstance(error, exceptions.ChannelPreconditionFailed) else None
    if told is not None and int(told[1]) == size:
        return failure("body_too_large", f"{who} takes no messages of {size} bytes")
    return failure("upstream_reset", f"{who} closed the connection before it confirmed", sent=True)
