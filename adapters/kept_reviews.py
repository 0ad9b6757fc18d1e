"""Held requests in a store that blocks: on a thread of its own, its errors in the words of reviews."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from router.errors import AuditError, ReviewError
from router.ports import NEVER, Change, Held, Review, ReviewStep, Stepped

TERMS = tuple(name for name in Held.__slots__ if name != "sealed")
T = TypeVar("T")


class ReviewCore(Protocol):
    """What `router.ports.HeldRequests` says, blocking; one thread at a time. Raises AuditError where the store does not answer."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def add(self, held: Held, change: Change, due_ns: int) -> None: ...

    def get(self, decision_id: str) -> Review | None: ...

    def page(self, states: Sequence[str], after: int, limit: int, tenant: str | None) -> list[tuple[int, Review]]: ...

    def change(
        self, decision_id: str, version: int, change: Change, forget: bool, reply: bytes, held: Held | None, due_ns: int
    ) -> bool: ...

    def unrecorded(self) -> list[tuple[str, int, Change]]: ...

    def elsewhere(self, decision_id: str) -> bool: ...

    def recorded(self, decision_id: str, number: int) -> None: ...

    def due(self, now_ns: int, states: Sequence[str]) -> list[str]: ...

    def count(self, states: Sequence[str]) -> int: ...

    def versions(self, decision_ids: Sequence[str]) -> dict[str, int]: ...

    def stepped(self, events: Sequence[str], since_ns: int, after: str, until_ns: int, limit: int, tenant: str | None) -> list[Stepped]: ...

    def forget_replies(self, event: str, before_ns: int) -> int: ...


class KeptReviews:
    """Implements `router.ports.HeldRequests`."""

    def __init__(self, core: ReviewCore) -> None:
        self._core = core
        self.changed: Callable[[str], None] = lambda _: None
        """Told of each review that a step was taken of here; must neither wait nor fail."""
        self._thread = ThreadPoolExecutor(1, "reviews")

    async def open(self) -> None:
        await self._run(self._core.open)

    async def close(self) -> None:
        """Twice is harmless."""
        await asyncio.to_thread(self._thread.shutdown)
        self._core.close()

    async def add(self, held: Held, change: Change, *, due_ns: int | None = None) -> None:
        await self._run(lambda: self._core.add(held, change, held.expires_ns if due_ns is None else due_ns))
        self.changed(held.decision_id)

    async def get(self, decision_id: str) -> Review | None:
        return await self._run(lambda: self._core.get(decision_id))

    async def page(self, states: Sequence[str], after: int, limit: int, tenant: str | None = None) -> Sequence[tuple[int, Review]]:
        return await self._run(lambda: self._core.page(states, after, limit, tenant))

    async def change(
        self,
        decision_id: str,
        version: int,
        change: Change,
        *,
        forget: bool = False,
        reply: bytes = b"",
        held: Held | None = None,
        due_ns: int = NEVER,
    ) -> bool:
        changed = await self._run(lambda: self._core.change(decision_id, version, change, forget, reply, held, due_ns))
        self.changed(decision_id)
        return changed

    async def unrecorded(self) -> Sequence[tuple[str, int, Change]]:
        return await self._run(self._core.unrecorded)

    async def elsewhere(self, decision_id: str) -> bool:
        return await self._run(lambda: self._core.elsewhere(decision_id))

    async def recorded(self, decision_id: str, number: int) -> None:
        await self._run(lambda: self._core.recorded(decision_id, number))

    async def due(self, now_ns: int, states: Sequence[str]) -> Sequence[str]:
        return await self._run(lambda: self._core.due(now_ns, states))

    async def count(self, states: Sequence[str]) -> int:
        return await self._run(lambda: self._core.count(states))

    async def versions(self, decision_ids: Sequence[str]) -> Mapping[str, int]:
        return await self._run(lambda: self._core.versions(decision_ids))

    async def stepped(
        self, events: Sequence[str], since_ns: int, after: str, until_ns: int, limit: int, tenant: str | None = None
    ) -> Sequence[Stepped]:
        return await self._run(lambda: self._core.stepped(events, since_ns, after, until_ns, limit, tenant))

    async def forget_replies(self, event: str, before_ns: int) -> int:
        return await self._run(lambda: self._core.forget_replies(event, before_ns))

    async def _run(self, job: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, job)
        except AuditError as error:
            failed = ReviewError(f"The review store does not answer: {error}")
            failed.untouched = error.untouched
            raise failed from error
        except RuntimeError as error:
            raise ReviewError("The review store is closed.", "review_store_closed") from error


def terms_of(held: Held) -> str:
    """A held request without its sealed part, as ASCII."""
    return json.dumps({name: getattr(held, name) for name in TERMS}, default=dict)


def stepped_from(places: Sequence[Sequence[Any]], rows: Iterable[Sequence[Any]]) -> list[Stepped]:
    """Rows of (moment, id), and of (id, event, moment, key id of the first record) in the order of steps."""
    found: dict[str, list[ReviewStep]] = {decision_id: [] for _, decision_id in places}
    for decision_id, event, at_ns, key_id in rows:
        found[decision_id].append(ReviewStep(event, at_ns, key_id or ""))
    return [Stepped(at_ns, decision_id, found[decision_id]) for at_ns, decision_id in places]


def held_from(terms: str, sealed: bytes, decision_id: str, place: Any) -> Held:
    """Raises ReviewError `review_unreadable`."""
    try:
        return Held(**json.loads(terms), sealed=sealed)
    except (ValueError, TypeError) as error:
        raise ReviewError(f"What {place} holds under {decision_id} cannot be read.", "review_unreadable") from error
