"""What whoever asked for a held request says to a reviewer's question, on its way from a front door to the control process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.decision import Subject
from router.review.holding import actors
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
    return Given(review_id, Subject(name, kind, tuple(roles), tuple(groups), tenant, _claims(acting), by), text, version, key)


def _claims(acting: list[str]) -> Mapping[str, Any]:
    """Those that say who acts for whom (RFC 8693, 4.1), which is all that a review looks at."""
    found: dict[str, Any] = {}
    for name in reversed(acting):
        found = {"act": {"sub": name, **found}}
    return found
