"""Held requests on which callers wait: between the control process, which has them, and the workers, who have the callers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from router.errors import AuditError, RefusedError, ReviewError
from router.ipc import Handler, Peer, RemoteError
from router.processes.messages import REVIEW_ANSWER, REVIEW_STANDING, REVIEW_VERSIONS, REVIEWS_CHANGED
from router.review.given import Given, given_of
from router.review.refusing import REVIEW_STATUS
from router.review.standing import Standing, unpacked

if TYPE_CHECKING:
    from router.wiring.reviews import Reviews  # a worker has none

LONGEST_S = 60.0


class ReviewFeedDesk:
    """The control process's side. One open question a worker."""

    def __init__(self, reviews: Reviews) -> None:
        self._reviews = reviews

    @property
    def handlers(self) -> Mapping[str, Handler]:
        asked = {REVIEWS_CHANGED: self._changed, REVIEW_VERSIONS: self._versions, REVIEW_STANDING: self._standing}
        return {**asked, REVIEW_ANSWER: self._answer}

    async def _changed(self, payload: Any) -> list[Any]:
        number, seconds = payload
        last, changed, lost = await self._reviews.changes.since(number, min(float(seconds), LONGEST_S))
        return [last, list(changed), lost]

    async def _versions(self, payload: Any) -> dict[str, int]:
        return dict(await self._reviews.versions(payload))

    async def _standing(self, payload: Any) -> list[object] | None:
        """Nothing about anybody else's request leaves it."""
        review_id, key_id, tenant = payload
        found = await self._reviews.standings.of(review_id, key_id, tenant)
        return None if found is None else found.packed()

    async def _answer(self, payload: bytes) -> list[object]:
        """Whether it was taken now, or [status, code, sentence] of why it was not."""
        try:
            return [await self._reviews.answer(given_of(payload))]
        except ReviewError as error:
            return [REVIEW_STATUS.get(error.code, 409), error.code, str(error)]
        except AuditError as error:
            return [503, error.code, str(error)]


class RemoteReviewFeed:
    """A worker's side; implements `router.review.waiting.Feed`."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def changes(self, number: int | None, seconds: float) -> tuple[int, Sequence[str], bool]:
        last, changed, lost = await self._asked(REVIEWS_CHANGED, [number, seconds])
        return last, changed, lost

    async def versions(self, review_ids: Sequence[str]) -> Mapping[str, int]:
        found: Mapping[str, int] = await self._asked(REVIEW_VERSIONS, list(review_ids))
        return found

    async def standing(self, review_id: str, key_id: str, tenant: str | None) -> Standing | None:
        found = await self._asked(REVIEW_STANDING, [review_id, key_id, tenant])
        return None if found is None else unpacked(found)

    async def answer(self, given: Given) -> bool:
        found = await self._asked(REVIEW_ANSWER, given.packed())
        if len(found) == 1:
            return bool(found[0])
        status, code, sentence = found
        raise RefusedError(sentence, code, status)

    async def _asked(self, kind: str, payload: Any) -> Any:
        try:
            return await self._peer.call(kind, payload)
        except RemoteError as error:
            code = error.code if error.code != "peer_gone" else ReviewError.code
            raise ReviewError(f"held requests cannot be looked at: {error}", code) from None
