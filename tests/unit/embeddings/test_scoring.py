import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.errors import EmbeddingsError
from embeddings.head import LinearHead
from embeddings.index import MAX_PER_INTENT, build_index
from embeddings.numeric import softmax
from embeddings.scoring import score


def random_parts(classes: int, seed: int) -> tuple[LinearHead, np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    weights, bias = random.normal(size=(classes, 16)), random.normal(size=classes)
    head = LinearHead(weights.astype(np.float32), bias.astype(np.float32), tuple(map(str, range(classes))))
    vectors = random.normal(size=(classes * 3, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = random.permutation(np.repeat(np.arange(classes), 3))
    return head, vectors, labels, vectors[0]


@given(classes=st.integers(2, 40), seed=st.integers(0, 100), temperature=st.floats(0.1, 5.0))
def test_scores_are_the_softmax_of_the_head(classes: int, seed: int, temperature: float) -> None:
    """The best five, best first, with the probabilities the plain formula gives."""
    head, vectors, labels, vector = random_parts(classes, seed)
    scores = score(head, build_index(vectors, labels, classes), temperature, vector)
    logits = (head.weights @ vector + head.bias)[None].astype(np.float64)
    expected = softmax(logits / temperature)[0]
    assert scores.order == np.argsort(-logits[0])[:5].tolist()
    assert scores.calibrated == pytest.approx(expected[scores.order].tolist(), rel=1e-3, abs=1e-9)
    assert scores.raw == pytest.approx(logits[0][scores.order].tolist(), rel=1e-4, abs=1e-4)


@given(classes=st.integers(2, 20), seed=st.integers(0, 50))
def test_nearest_is_among_the_top_intents_own_examples(classes: int, seed: int) -> None:
    """The index finds the highest cosine within the one intent it is asked for."""
    _, vectors, labels, vector = random_parts(classes, seed)
    index = build_index(vectors, labels, classes)
    for intent in range(classes):
        assert index.nearest(vector, intent) == pytest.approx(float((vectors[labels == intent] @ vector).max()), abs=1e-6)


def test_index_is_bounded_per_intent() -> None:
    """Of a thousand examples of one intent a bounded number is compared, of few all."""
    vectors = np.eye(4, dtype=np.float32)[np.arange(1003) % 4]
    labels = np.where(np.arange(1003) < 1000, 0, 1)
    index = build_index(vectors, labels, 2)
    assert index.offsets.tolist() == [0, MAX_PER_INTENT, MAX_PER_INTENT + 3]


def test_equal_logits_keep_the_catalogs_order() -> None:
    """A tie is not decided by chance."""
    head = LinearHead(np.zeros((9, 2), np.float32), np.zeros(9, np.float32), tuple("abcdefghi"))
    index = build_index(np.ones((9, 2), np.float32), np.arange(9), 9)
    assert score(head, index, 1.0, np.ones(2, np.float32)).calibrated == pytest.approx([1 / 9] * 5)


def test_a_vector_that_is_not_finite_is_refused() -> None:
    """NaN never becomes a confidence."""
    head, vectors, labels, vector = random_parts(7, 1)
    index = build_index(vectors, labels, 7)
    for bad in (np.nan, np.inf):
        with pytest.raises(EmbeddingsError, match="not finite") as caught, np.errstate(invalid="ignore"):
            score(head, index, 1.0, np.full_like(vector, bad))
        assert caught.value.code == "not_finite"
