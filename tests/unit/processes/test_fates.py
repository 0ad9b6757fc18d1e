"""How a delivery ended, asked for by a worker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from router.errors import StateError
from router.ipc import RemoteError
from router.processes import fates
from router.processes.fates import RemoteFates


class Peer:
    def __init__(self, answer: Exception | None) -> None:
        self.answer = answer

    async def call(self, *_: Any) -> Any:
        if self.answer is not None:
            raise self.answer
        await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("answer", [RemoteError("The ledger is busy.", "audit_busy"), None], ids=["fails", "silent"])
async def test_what_the_ledger_does_not_tell_now_is_not_told(answer: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller hears that nobody knows at the moment, and not that there is no such delivery."""
    monkeypatch.setattr(fates, "PATIENCE_S", 0.01)
    peer: Any = Peer(answer)
    with pytest.raises(StateError) as refused:
        await RemoteFates(peer).fate("d", "k")
    assert refused.value.code == "delivery_unknown_now"
