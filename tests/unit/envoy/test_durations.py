"""Times as Gateway API's resources take them."""

from __future__ import annotations

import re

import pytest

from router.envoy.kubernetes import duration

GEP_2257 = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0001, "1ms"),
        (0.25, "250ms"),
        (1.5, "1500ms"),
        (2, "2s"),
        (99.999, "99999ms"),
        (100.5, "100s500ms"),
        (99_999, "99999s"),
        (100_000, "27h2800s"),
        (360_000.001, "100h1ms"),
    ],
)
def test_they_have_no_fractions_and_few_digits(seconds: float, written: str) -> None:
    assert duration(seconds) == written
    assert GEP_2257.fullmatch(written)
