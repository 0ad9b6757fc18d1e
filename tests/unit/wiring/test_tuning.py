"""What counts as accepted, and as wrong, where two tiers may answer."""

from __future__ import annotations

import pytest

from router.wiring.tuning import Answered, accepted

GROUP = ("ask", "book")


@pytest.mark.parametrize(
    ("intent", "answers", "row"),
    [
        ("ask", [("ask", 0.9)], (0.9, True, True)),
        ("ask", [("ask", 0.6), ("ask", 0.9)], (0.9, True, True)),
        ("ask", [("book", 0.6), ("ask", 0.9)], (0.9, False, True)),
        ("pay", [("ask", 0.9)], (0.9, False, False)),
        (None, [("ask", 0.9)], (0.9, False, False)),
        ("ask", [("pay", 0.9), ("ask", 0.8)], None),
        ("pay", [("pay", 0.9), ("ask", 0.8)], (0.8, False, False)),
        ("ask", [("pay", 0.9)], None),
        ("ask", [], None),
    ],
)
def test_a_text_counts_at_its_worst(intent: str | None, answers: list[tuple[str, float]], row: tuple[float, bool, bool] | None) -> None:
    """As sure as the surest tier, wrong if any tier is; one that another threshold may take away counts only against."""
    found = accepted([Answered("a text", intent, tuple(answers))], GROUP)
    rows = list(zip(found.confidences.tolist(), found.correct.tolist(), found.about.tolist(), strict=True))
    assert rows == ([] if row is None else [row])


def test_texts_that_no_tier_would_answer_are_still_to_be_covered() -> None:
    """Coverage is of all texts about these intents."""
    found = accepted([Answered("a", "ask", ()), Answered("b", "ask", (("ask", 0.9),)), Answered("c", "pay", ())], GROUP)
    assert (len(found.correct), found.total) == (1, 2)
