"""What a worker keeps of the control process's answers."""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import Any

import pytest

from router.audit.keys.leasing import lease_clock
from router.errors import ReviewError
from router.ipc import connect
from router.processes import remote
from router.processes.messages import HOLD
from router.processes.remote import RemoteReviews, RemoteSubjectKeys


class Control:
    """Gives every call another key; an answer waits where the test says so."""

    def __init__(self) -> None:
        self.calls = 0
        self.until: float | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self._numbers = itertools.count(1)

    async def call(self, _: str, subject: str) -> list[Any]:
        self.calls += 1
        number = next(self._numbers)
        await self.gate.wait()
        return [f"k{number}", bytes([number]) * 32, self.until]


def keys(control: Control) -> RemoteSubjectKeys:
    return RemoteSubjectKeys(control)  # type: ignore[arg-type]  # of a peer only `call` is used


async def test_a_key_is_asked_for_once_and_again_when_it_was_destroyed() -> None:
    """Only that subject's: the others are kept."""
    control = Control()
    kept = keys(control)
    assert [(await kept.key_for(subject))[0] for subject in ("anna", "bo", "anna", "bo")] == ["k1", "k2", "k1", "k2"]
    kept.forget("k1")
    assert [(await kept.key_for(subject))[0] for subject in ("anna", "bo")] == ["k3", "k2"]


async def test_a_key_that_was_under_way_while_one_was_destroyed_is_not_kept() -> None:
    """The answer may have left the control process before the key was destroyed there."""
    control = Control()
    kept = keys(control)
    control.gate.clear()
    asking = asyncio.create_task(kept.key_for("anna"))
    await asyncio.sleep(0)
    kept.forget("k1")
    control.gate.set()
    assert (await asking)[0] == "k1"
    assert (await kept.key_for("anna"))[0] == "k2"


async def test_where_nodes_share_keys_they_are_used_as_long_as_somebody_confirms_them() -> None:
    """After that the control process is asked again, which may refuse; a later end lets them be used again."""
    control = Control()
    control.until = lease_clock() + 60
    kept = keys(control)
    assert [(await kept.key_for("anna"))[0] for _ in range(2)] == ["k1", "k1"]
    late = Control()
    late.until = lease_clock() - 1
    lapsed = keys(late)
    assert [(await lapsed.key_for("anna"))[0] for _ in range(2)] == ["k1", "k2"]
    lapsed.usable_until(lease_clock() + 60)
    assert (await lapsed.key_for("anna"))[0] == "k2"


@pytest.mark.parametrize(
    ("code", "unsettled"),
    [("peer_gone", True), ("review_store_unavailable", True), ("internal", True), ("subject_erased", False), ("audit_unavailable", False)],
)
async def test_whether_a_request_is_held_is_not_known_where_the_control_process_is_gone_or_does_not_know_it(
    monkeypatch: pytest.MonkeyPatch, code: str, unsettled: bool
) -> None:
    """It may have been made durable before. Where the control process says why it is not, it is not; so it is where the ledger, which comes
    first, did not answer."""

    async def hold(_: Any) -> None:
        if code == "internal":
            raise ValueError("nobody foresaw it")
        failed = ReviewError("it failed", code)
        failed.unsettled = unsettled
        raise failed

    monkeypatch.setattr(remote, "pack_held", lambda _: b"")
    here, there = socket.socketpair()
    control, worker = await connect(there, {HOLD: hold}), await connect(here, {})
    if code == "peer_gone":
        control.close()
    with pytest.raises(ReviewError) as failed:
        await RemoteReviews(worker).hold(None)  # type: ignore[arg-type]  # nothing of what is held is looked at
    worker.close()
    control.close()
    assert failed.value.unsettled is unsettled
