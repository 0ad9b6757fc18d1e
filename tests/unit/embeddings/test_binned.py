from __future__ import annotations

import numpy as np
import pytest

from embeddings.binned import bin_numbers, error_by_chance, expected_calibration_error


def test_the_last_bin_has_its_end() -> None:
    """A confidence of 1 is in no bin of its own."""
    assert bin_numbers(np.array([0.0, 0.1, 0.99, 1.0]), 10).tolist() == [0, 1, 9, 9]


def test_weights_count_as_so_many_answers() -> None:
    """One that stands for three is as good as three."""
    once = np.array([0.9, 0.3])
    thrice = np.array([0.9, 0.9, 0.9, 0.3])
    weighed = expected_calibration_error(once, np.array([0.0, 1.0]), weights=np.array([3.0, 1.0]))
    assert weighed == pytest.approx(expected_calibration_error(thrice, np.array([False, False, False, True])))
    assert weighed == pytest.approx((3 * 0.9 + 0.7) / 4)


def test_chance_alone_is_what_calibrated_answers_show() -> None:
    """On average, of answers that are right exactly as often as they say."""
    rng = np.random.default_rng(3)
    confidences = rng.uniform(0.3, 1.0, 150)
    shown = [expected_calibration_error(confidences, rng.uniform(size=150) < confidences) for _ in range(300)]
    assert error_by_chance(confidences) == pytest.approx(np.mean(shown), rel=0.1)
    assert error_by_chance(np.array([])) == 0.0
