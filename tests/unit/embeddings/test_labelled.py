"""Labelled texts are read as they stand, and what is wrong with them is said with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from embeddings.errors import EmbeddingsError
from embeddings.examples import in_words
from embeddings.labelled import read_splits, select

GOOD = 'text,split,intent,more\n"a, b",train,pay,1\nc,train,oos,2\nd,test,cancel,3\ne,train,cancel,4\n'


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "data.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_splits_are_told_apart_and_joined(tmp_path: Path) -> None:
    """In the file's order; `oos` is no intent; other columns do not matter."""
    splits = read_splits(write(tmp_path, GOOD))
    assert splits["train"].texts == ("a, b", "c", "e")
    assert splits["train"].intents == ("pay", None, "cancel")
    both = select(splits, ["test", "train"])
    assert both.by_intent == {"cancel": ["d", "e"], "pay": ["a, b"]}
    assert both.background == ["c"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("split,text\na,b\n", ":1: The column 'intent' is missing"),
        ("", ":1: The column 'split' is missing"),
        (GOOD + "f,train\n", ":6: This row has 2 fields, the header has 4"),
        (GOOD + "f,train,,5\n", ":6: The intent is empty"),
        (b"split,text,intent\ntrain,\xff,pay\n", "is not UTF-8"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: str | bytes, sentence: str) -> None:
    """In one sentence, with the line."""
    with pytest.raises(EmbeddingsError, match=sentence):
        read_splits(write(tmp_path, content))


def test_splits_that_are_not_there_are_named(tmp_path: Path) -> None:
    """With those that are; a file that is not there, too."""
    with pytest.raises(EmbeddingsError, match="no split 'val'; the file has test, train"):
        select(read_splits(write(tmp_path, GOOD)), ["val"])
    with pytest.raises(EmbeddingsError, match="No such file"):
        read_splits(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cancel_payment", "cancel payment"),
        ("payments.cancel", "payments cancel"),
        ("CancelPayment", "cancel payment"),
        ("cash-out 2", "cash out 2"),
        ("__", "__"),
    ],
)
def test_an_intents_name_is_words(name: str, words: str) -> None:
    """However it is written."""
    assert in_words(name) == words
