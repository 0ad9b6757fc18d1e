"""What the door's services need of a transport: messages one after the other, in both directions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol


class Reading(Protocol):
    async def read(self) -> Any:
        """The next message. Anything else where no more come."""


class Stream(Reading, Protocol):
    """One call. gRPC's own context is one, and so is `framing.Framed`. Whoever waits in it is cancelled when the other side gives the call
    up or its time is over."""

    async def write(self, message: Any, /) -> None:
        """Waits where the other side does not take what it was sent."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]]:
        """What the call was begun with."""
