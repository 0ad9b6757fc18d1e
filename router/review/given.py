"""What whoever asked for a held request says to a reviewer's question, on its way from a front door to the control process."""

from __future__ import annotations

from dataclasses import dataclass

from router.acting import acting_claims, actors
from router.decision import Subject
from router.review.packing import packed, unpacked


@dataclass(frozen=True, slots=True)
class Given:
    """`version`: of the review as it was when its question was read, which names the question; `key`: the caller's own for this answer."""

    review_id: str
    subject: Subject
    text: str
    version: int
    key: str = ""

    def packed(self) -> bytes:
        who = self.subject
        said = [who.id, who.type, list(who.roles), list(who.groups), who.tenant, list(actors(who)), who.authenticated_by]
        return packed([self.review_id, said, self.text, self.version, self.key])


def given_of(packed: bytes) -> Given:
    """Of what `Given.packed` made."""
    review_id, said, text, version, key = unpacked(packed)
    name, kind, roles, groups, tenant, acting, by = said
    return Given(review_id, Subject(name, kind, tuple(roles), tuple(groups), tenant, acting_claims(acting), by), text, version, key)
