"""The pictures as documents: well-formed, the same for the same figures, nothing outside of them, and told in words."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, fromstring

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.curves import at_risk, reliability, risk_coverage
from router.cli.markup import e, html, svg
from router.cli.pictures import reliability_diagram, risk_coverage_curve

SVG = "{http://www.w3.org/2000/svg}"
ANSWERS = st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=80)


def drawn(answers: list[tuple[float, bool]], risk: float) -> tuple[str, str]:
    confidences, correct = np.array([each for each, _ in answers]), np.array([right for _, right in answers])
    curve = risk_coverage_curve(risk_coverage(confidences, correct), at_risk(confidences, correct, risk))
    return svg(reliability_diagram(reliability(confidences, correct))), svg(curve)


def places(picture: Element) -> list[tuple[float, float]]:
    found = [
        (float(each.get(x) or 0), float(each.get(y) or 0))
        for each in picture.iter()
        for x, y in (("x1", "y1"), ("x2", "y2"), ("cx", "cy"), ("x", "y"))
        if each.get(x)
    ]
    paths = (each.get("d") or "" for each in picture.iter(f"{SVG}path"))
    return found + [(float(x), float(y)) for path in paths for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


@given(ANSWERS, st.sampled_from([0.005, 0.05, 0.3]))
def test_everything_is_drawn_inside(answers: list[tuple[float, bool]], risk: float) -> None:
    """Whatever the figures, and well-formed."""
    for text in drawn(answers, risk):
        picture = fromstring(text)  # our own
        _, _, width, height = map(float, (picture.get("viewBox") or "").split())
        assert all(0.0 <= x <= width and 0.0 <= y <= height for x, y in places(picture))


def test_the_same_figures_give_the_same_bytes() -> None:
    """So that a changed picture means changed figures."""
    answers = [(number / 100, number % 7 > 0) for number in range(100)]
    assert drawn(answers, 0.05) == drawn(answers, 0.05)


def test_a_picture_is_told_in_words() -> None:
    """For those who do not see it: named, described, and labelled by both."""
    for text in drawn([(0.95, True)] * 100 + [(0.3, False)], 0.05):
        picture = fromstring(text)
        ids = {each.get("id"): each.text for each in picture.iter() if each.get("id")}
        assert picture.get("role") == "img"
        assert all(ids[name] for name in (picture.get("aria-labelledby") or "").split())
    assert "Confidence 90% to 100%: 100 answers, 100% right." in drawn([(0.95, True)] * 100, 0.05)[0]


@pytest.mark.parametrize(
    ("count", "said"), [(100, "risk 5%: 100% accepted, from confidence 0.9500"), (10, "a risk of 5% cannot be proved")]
)
def test_the_chosen_point_is_named(count: int, said: str) -> None:
    """Or that there is none."""
    assert said in drawn([(0.95, True)] * count, 0.05)[1]


def test_each_bin_has_its_count() -> None:
    """Beside its interval."""
    picture = drawn([(0.95, True)] * 1234 + [(0.5, False)], 0.05)[0]
    assert ">1,234<" in picture
    assert picture.count('class="whisker"') == 2


def test_text_is_never_markup() -> None:
    """Neither in elements nor in attributes, nor after an element."""
    made = html(e("p", {"title": '"><script>'}, "<script>", e("b", {}, "a & b"), "<i>"))
    assert "<script>" not in made
    assert "a &amp; b</b>&lt;i&gt;" in made
