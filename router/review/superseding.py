"""A held request is judged again before it is approved and before it is sent. Where policies, the catalog or its route would now have it
otherwise, no approval of before counts: it waits anew, as it is judged now, or it ends where it would be denied."""

from __future__ import annotations

from dataclasses import replace

from router.errors import ReviewError
from router.ports import Clock, Held, HeldRequests, Review
from router.review import records, terms
from router.review.judging import Again, Judging
from router.review.packing import Content, seal_content
from router.review.people import People
from router.review.state import State
from router.review.taking import take


class Superseding:
    def __init__(self, store: HeldRequests, people: People, clock: Clock, judging: Judging) -> None:
        self._store = store
        self._people = people
        self._clock = clock
        self._judging = judging

    async def looked(self, review: Review, content: Content) -> Again | None:
        """How it would be judged now; None where an older release held it, without what policy had been told. Raises ReviewError
        `review_unjudged` while nobody can say, `route_changed` where its route is gone."""
        if terms.bundle(review.held) is None:
            return None
        return (await self._judging.again(review.held, content)).settled()

    async def supersede(self, review: Review, again: Again) -> bool:
        """False where somebody else was quicker. Raises ReviewError."""
        elsewhere = (again.held.route, again.held.destination) != (review.held.route, review.held.destination)
        why = "route_changed" if elsewhere else "policy_changed"
        held = None if again.denied else await self.sealed(again.held, again.content)
        to = State.SUPERSEDED if held is None else terms.resting(held)
        effect, bundle = again.verdict.effect.value, again.verdict.digest
        return await take(self._store, review, records.superseded(review, self._clock.now_ns(), to, effect, bundle, held, why), held)

    async def sealed(self, held: Held, content: Content) -> Held:
        """Bound to its terms as they are now. Raises ReviewError."""
        key = await self._people.key(held.subject_key_id)
        if key is None:
            raise ReviewError("The key of the one who asked was destroyed.", "subject_erased")
        return replace(held, sealed=seal_content(key, content, held))
