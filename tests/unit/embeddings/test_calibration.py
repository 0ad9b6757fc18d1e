import numpy as np
import pytest

from embeddings.binned import expected_calibration_error
from embeddings.calibration import fit_temperature, top_confidences
from embeddings.numeric import Floats, Labels, softmax


def drawn(count: int, temperature: float, seed: int) -> tuple[Floats, Labels]:
    """Logits (count, 8) that are right exactly as often as softmax(logits / temperature) says."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, 8)) * 2.0
    labels = np.array([random.choice(8, p=row) for row in softmax(logits / temperature)])
    return logits, labels


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_temperature_is_recovered(temperature: float) -> None:
    """Labels drawn at a temperature give that temperature back."""
    assert fit_temperature(*drawn(5000, temperature, seed=1)) == pytest.approx(temperature, rel=0.1)


@pytest.mark.parametrize("temperature", [0.3, 4.0])
def test_scaling_improves_calibration_on_unseen_data(temperature: float) -> None:
    """A temperature fitted on one half lowers the calibration error of the other by far."""
    fitted = fit_temperature(*drawn(4000, temperature, seed=2))
    unseen = drawn(4000, temperature, seed=3)
    before = expected_calibration_error(*top_confidences(*unseen, 1.0))
    after = expected_calibration_error(*top_confidences(*unseen, fitted))
    assert before > 0.1
    assert after < 0.03


def test_a_few_right_answers_are_not_certainty() -> None:
    """Six examples that all happen to be right leave their mean confidence below 0.95."""
    logits = np.random.default_rng(4).normal(size=(6, 5))
    confidences, correct = top_confidences(logits, logits.argmax(axis=1), fit_temperature(logits, logits.argmax(axis=1)))
    assert correct.all()
    assert confidences.mean() < 0.95


def test_calibration_error_of_known_cases() -> None:
    """Confidence 0.9 that is right 9 times of 10 has no error, one that is never right has 0.9."""
    confidences = np.full(10, 0.9)
    assert expected_calibration_error(confidences, np.arange(10) > 0) == pytest.approx(0.0)
    assert expected_calibration_error(confidences, np.zeros(10, dtype=bool)) == pytest.approx(0.9)
    assert expected_calibration_error(np.array([1.0]), np.array([True])) == 0.0
