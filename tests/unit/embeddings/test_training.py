import numpy as np
import pytest
from scipy.optimize import approx_fprime

from embeddings.numeric import Floats, Labels, log_sum_exp
from embeddings.ports import Matrix
from embeddings.training import cross_validate, fit_softmax


def blobs(classes: int = 4, each: int = 15, dimensions: int = 6) -> tuple[Matrix, Labels]:
    random = np.random.default_rng(7)
    centres = random.normal(size=(classes, dimensions)) * 2.0
    labels = np.repeat(np.arange(classes), each)
    vectors = centres[labels] + random.normal(size=(classes * each, dimensions))
    return vectors.astype(np.float32), labels


def test_fit_is_at_the_minimum() -> None:
    """The numerical gradient of the written-down objective vanishes where the fit ends."""
    vectors, labels = blobs()
    fitted = fit_softmax(vectors, labels, 4, strength=2.0)

    def objective(flat: Floats) -> float:
        table = flat.reshape(4, 7)
        logits = vectors @ table[:, :6].T + table[:, 6]
        likelihood = np.mean(log_sum_exp(logits) - logits[np.arange(60), labels])
        return float(likelihood + np.sum(table[:, :6] ** 2) / (2 * 2.0 * 60))

    flat = np.concatenate([fitted.weights.astype(np.float64), fitted.bias[:, None]], axis=1).ravel()
    assert np.abs(approx_fprime(flat, objective, 1e-6)).max() < 1e-4


def test_fit_is_deterministic() -> None:
    """The same data gives the same bits."""
    vectors, labels = blobs()
    first, second = (fit_softmax(vectors, labels, 4, 10.0) for _ in range(2))
    assert np.array_equal(first.weights, second.weights)
    assert np.array_equal(first.bias, second.bias)


def test_weaker_ridge_fits_closer() -> None:
    """A higher strength gives larger weights."""
    vectors, labels = blobs()
    small, large = (fit_softmax(vectors, labels, 4, strength).weights for strength in (0.1, 100.0))
    assert np.linalg.norm(large) > 2 * np.linalg.norm(small)


def test_held_out_rows_are_scored_by_heads_that_did_not_see_them() -> None:
    """Labels drawn at random are predicted at chance; seen rows would be predicted far better."""
    random = np.random.default_rng(8)
    vectors = random.normal(size=(200, 100)).astype(np.float32)
    labels = random.integers(0, 2, size=200)
    held_out = cross_validate([vectors] * 5, labels, 2, np.arange(200) % 5, (100.0,), lambda done, total: None)
    assert (held_out.logits.argmax(axis=1) == labels).mean() < 0.65
    assert (fit_softmax(vectors, labels, 2, 100.0).logits(vectors).argmax(axis=1) == labels).mean() > 0.95


def test_rows_outside_all_folds_are_never_scored() -> None:
    """Fold -1 means always trained on."""
    vectors, labels = blobs()
    folds = np.arange(60) % 3
    folds[:5] = -1
    held_out = cross_validate([vectors] * 5, labels, 4, folds, (1.0,), lambda done, total: None)
    assert held_out.rows.tolist() == list(range(5, 60))
    assert held_out.logits.shape == (55, 4)


def test_strength_is_chosen_by_held_out_likelihood() -> None:
    """With nearly as many dimensions as rows, a strong ridge wins over one that fits every row."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, size=100)
    vectors = (random.normal(size=(100, 80)) + labels[:, None] * (np.arange(80) < 4)).astype(np.float32)
    for strengths in ((0.01, 1e6), (1e6, 0.01)):
        chosen = cross_validate([vectors] * 5, labels, 2, np.arange(100) % 5, strengths, lambda done, total: None)
        assert chosen.strength == 0.01


def test_progress_reaches_its_total() -> None:
    """Progress counts every fit up to the announced total."""
    vectors, labels = blobs()
    seen: list[tuple[int, int]] = []
    cross_validate([vectors] * 3, labels, 4, np.arange(60) % 3, (1.0, 10.0), lambda done, total: seen.append((done, total)))
    assert seen == [(step, 6) for step in range(1, 7)]


def test_no_strength_is_an_error() -> None:
    """Nothing to choose from is refused."""
    vectors, labels = blobs()
    with pytest.raises(ValueError, match="at least one strength"):
        cross_validate([vectors] * 3, labels, 4, np.arange(60) % 3, (), lambda done, total: None)


def test_each_fold_is_scored_with_its_own_vectors() -> None:
    """What one fold's encoder makes of the texts has no part in another fold's scores."""
    vectors, labels = blobs()
    folds = np.arange(60) % 2
    random = np.random.default_rng(9).normal(size=vectors.shape).astype(np.float32)
    found = cross_validate([vectors, random], labels, 4, folds, (1.0,), lambda done, total: None)
    right = found.logits.argmax(axis=1) == labels[found.rows]
    assert right[folds == 0].mean() > 0.9
    assert right[folds == 1].mean() < 0.6
