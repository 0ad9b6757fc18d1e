import pytest

from tests.needs import needs

needs("onnx", "run `make extras`")

from model.multilingual import tokenizer_of

PIECES = [
    ("<s>", 0.0),
    ("<pad>", 0.0),
    ("</s>", 0.0),
    ("<unk>", 0.0),
    ("▁", -3.0),
    ("▁pay", -4.0),
    ("ment", -5.0),
    ("fi", -6.0),
    ("▁fi", -6.0),
]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("payment", ["<s>", "▁pay", "ment", "</s>"]),
        ("  pay\t\n fi ", ["<s>", "▁pay", "▁fi", "</s>"]),
        ("pay\x00\x07ment", ["<s>", "▁pay", "ment", "</s>"]),
        ("pay\u200bﬁ", ["<s>", "▁pay", "▁fi", "</s>"]),
        ("", ["<s>", "</s>"]),
    ],
)
def test_texts_are_made_plain_as_the_vocabulary_was(text: str, tokens: list[str]) -> None:
    """Compatible characters are one, control characters none, odd spaces a space, and each word begins with its mark."""
    assert tokenizer_of(PIECES, unknown=3).encode(text).tokens == tokens
