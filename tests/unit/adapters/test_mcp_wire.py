"""What a call is told of the HTTP below it: that nobody was reached is said only of a tool that was not called."""

from __future__ import annotations

import httpx2
import pytest

from adapters.mcp_tool.wire import translated


@pytest.mark.parametrize(
    ("error", "before", "after"),
    [
        (httpx2.ConnectTimeout("late"), "connect_timeout", "upstream_timeout"),
        (httpx2.ConnectError("nobody"), "connect_failed", "upstream_reset"),
        (httpx2.ReadError("gone"), "upstream_reset", "upstream_reset"),
    ],
    ids=["too late", "nobody", "broken off"],
)
def test_a_connection_that_fails_after_the_call_says_nothing_of_it(error: httpx2.TransportError, before: str, after: str) -> None:
    """Such as one that is to get the rest of an answer: whoever lets go of a key by its code would have the tool called twice."""
    early, late = translated(error, sent=False), translated(error, sent=True)
    assert (early.code, early.sent, late.code, late.sent) == (before, False, after, True)
