"""What a reviewer's decision says of the intent that a held request was taken for. It goes into the record of the step, from where learning
takes it; nothing of it changes what becomes of the request.

By word: the reviewer said that the classification was wrong, or which intent is right. By route: they sent it to the route of another
intent. An approval says nothing: who approves a payment has judged the payment, and not what would have been the right word for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from router.errors import RefusedError
from router.ports import Review
from router.review.state import Event
from router.stages.routing import RoutingTable

MISROUTED = "misrouted"  # what a reviewer says whose reason is that the classification was wrong
Table = Callable[[], RoutingTable | None]
"""Of the catalog in force; None where nothing is learnt from reviews."""


class By(StrEnum):
    WORD = "word"
    ROUTE = "route"


@dataclass(frozen=True, slots=True)
class Opinion:
    """`right`: that the intent was; else it was wrong, and `intent` should have been it, where that was said."""

    right: bool
    intent: str | None
    by: By

    def details(self) -> Mapping[str, str]:
        """Of the step's record. Intents are the catalog's words."""
        told = {"opinion": "right" if self.right else "wrong", "opinion_by": self.by.value}
        return told if self.intent is None else {**told, "opinion_intent": self.intent}


@dataclass(frozen=True, slots=True)
class Opinions:
    table: Table

    def check(self, intent: str | None, reason: str) -> None:
        """Raises RefusedError: what a person typed is not dropped in silence."""
        if intent is None and not reason:
            return
        table = self.table()
        if table is None:
            sentence = "The configuration has no 'learning.from_reviews': leave out what the classification should have been."
            raise RefusedError(sentence, "learning_off", 404)
        if intent is not None and intent not in table.intents:
            raise RefusedError(f"The catalog has no intent '{intent[:64]}'.", "feedback_intent_unknown", 422)

    def of(self, review: Review, event: Event, intent: str | None, reason: str, route: str | None) -> Opinion | None:
        """`review` as it was before the step; `route`: the one that was chosen. None for a step that says nothing."""
        table = self.table()
        if table is None:
            return None
        derived = _by_route(review, route, table) if event is Event.REROUTED and route is not None else None
        if intent is None and not reason:
            return derived
        meant = derived.intent if intent is None and derived is not None else intent
        return Opinion(right=False, intent=meant, by=By.WORD)


def _by_route(review: Review, route: str, table: RoutingTable) -> Opinion | None:
    """Routes that abstentions take say nothing, nor do those of several intents."""
    own = review.held.intent
    if own is not None and own in table.intents and table.intents[own].route == route:
        undone = review.held.route != route and any(change.event == Event.REROUTED for change in review.history)
        return Opinion(right=True, intent=None, by=By.ROUTE) if undone else None
    meant = [name for name, entry in table.intents.items() if entry.route == route]
    resorts = {table.on_abstain, *(entry.on_abstain for entry in table.intents.values())}
    if len(meant) != 1 or route in resorts:
        return None
    return Opinion(right=False, intent=meant[0], by=By.ROUTE)
