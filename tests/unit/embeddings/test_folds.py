import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embeddings.folds import intent_groups, stratified_folds

SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=8)


@given(sizes=SIZES)
def test_every_intent_is_spread_evenly(sizes: list[int]) -> None:
    """No fold holds more than its share of an intent, and a single example is never held out."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    folds = stratified_folds([f"text {row}" for row in range(len(labels))], labels)
    for label, size in enumerate(sizes):
        own = folds[labels == label]
        if size == 1:
            assert own.tolist() == [-1]
        else:
            assert np.bincount(own, minlength=5).max() == -(-size // 5)


def test_folds_do_not_depend_on_the_order_of_examples() -> None:
    """Shuffling the examples moves each text's fold with it."""
    texts = [f"text {row}" for row in range(20)]
    labels = np.zeros(20, dtype=np.intp)
    order = np.random.default_rng(1).permutation(20)
    straight = dict(zip(texts, stratified_folds(texts, labels).tolist(), strict=True))
    shuffled_texts = [texts[row] for row in order]
    assert dict(zip(shuffled_texts, stratified_folds(shuffled_texts, labels).tolist(), strict=True)) == straight


@given(count=st.integers(2, 30))
def test_every_group_leaves_intents_outside(count: int) -> None:
    """Groups are as even as can be and none holds all intents."""
    sizes = np.bincount(intent_groups([f"intent {number}" for number in range(count)]))
    assert len(sizes) == min(5, count)
    assert sizes.max() - sizes.min() <= 1
    assert sizes.max() < count


def test_texts_that_differ_in_case_are_held_out_together() -> None:
    """An encoder that knows no case has seen the one where it has seen the other; an intent of such texts only is never held out."""
    texts = ("Book leave", "book leave", "take a day off", "BOOK LEAVE", "vacation", "Yes", "yes")
    folds = stratified_folds(texts, np.array([0, 0, 0, 0, 0, 1, 1]))
    assert len({int(folds[row]) for row in (0, 1, 3)}) == 1
    assert len({int(folds[row]) for row in (0, 2, 4)}) == 3
    assert folds[5:].tolist() == [-1, -1]
