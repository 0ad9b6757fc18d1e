from hypothesis import given
from hypothesis import strategies as st

from embeddings.text import bounded

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))


@given(text=ANY_TEXT, limit=st.integers(0, 50))
def test_result_is_short_and_encodable(text: str, limit: int) -> None:
    """Any str comes back within the limit and encodes as UTF-8."""
    result = bounded(text, limit)
    assert len(result) <= limit
    result.encode()


@given(text=st.text(max_size=50))
def test_well_formed_text_is_unchanged(text: str) -> None:
    """Text without surrogates and within the limit stays as it is, control characters included."""
    assert bounded(text, 50) == text


def test_surrogates() -> None:
    """A pair is joined to its character, a lone surrogate becomes U+FFFD."""
    assert bounded("\ud83d\ude00", 10) == "\U0001f600"
    assert bounded("a\ud83db", 10) == "a\ufffdb"
