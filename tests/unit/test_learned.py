"""The file of what was learnt, put over the catalog."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.errors import ConfigError
from router.learned import NOTHING, Learned, LearnedIntent, NewIntent, digest_of, read_learned, written
from router.workspace import Workspace, parse, read
from tests.contract.small_workspace import EXAMPLES, small_workspace


def learnt(folder: Path, text: str) -> Workspace:
    small_workspace(folder, "{min_confidence: 0.7}")
    catalog = folder / "catalog.yaml"
    catalog.write_text(
        f"{catalog.read_text()}learned: learned.yaml\n".replace(
            "routes: {", "routes: {other: {destination: desk, path: /other, method: POST}, "
        )
    )
    if text:
        (folder / "learned.yaml").write_text(text)
    return parse(read(folder, {}), {})


def test_a_file_that_is_not_there_yet_says_nothing(tmp_path: Path) -> None:
    """The catalog is as its authors wrote it."""
    assert learnt(tmp_path, "").catalog.intents["cancel"].examples == tuple(EXAMPLES["cancel"])


def test_what_was_learnt_is_put_over_the_catalog(tmp_path: Path) -> None:
    """Examples beside its own, once each; thresholds and routes instead of them; intents that it lacks; and texts about none. The digest
    covers it."""
    before = learnt(tmp_path, "").digests.catalog
    found = learnt(
        tmp_path,
        "version: 1\nintents:\n"
        "  cancel: {examples: [call it off, cancel payment 0], min_confidence: 0.9, route: other}\n"
        "  ask: {new: {description: Asks.}, route: ask, examples: [what is it, who is it]}\n"
        "out_of_scope: [sing me a song]\n",
    )
    cancel, ask = found.catalog.intents["cancel"], found.catalog.intents["ask"]
    assert cancel.examples == (*EXAMPLES["cancel"], "call it off")
    assert (cancel.min_confidence, cancel.route) == (0.9, "other")
    assert (ask.description, ask.route, ask.examples) == ("Asks.", "ask", ("what is it", "who is it"))
    assert found.catalog.out_of_scope.examples == ("sing me a song",)
    assert found.digests.catalog != before


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("version: 1\nintents: {fly: {examples: [fly]}}\n", "about the intent 'fly', which the catalog does not have"),
        ("version: 1\nintents: {cancel: {route: nowhere}}\n", "nowhere"),
        ("version: 1\nintents: {cancel: {examples: [book 0 days of leave]}}\n", "is an example of both"),
        ("version: 1\nintents: {cancel: {exampels: [x]}}\n", "exampels"),
        ("version: 2\n", "must be 1"),
        ("intents: [", "learned.yaml:"),
    ],
)
def test_what_is_refused_of_a_catalog_is_refused_of_both(tmp_path: Path, text: str, sentence: str) -> None:
    """As one sentence; a catalog that serves goes on serving."""
    with pytest.raises(ConfigError, match=sentence):
        learnt(tmp_path, text)


def test_texts_of_strangers_name_no_variables(tmp_path: Path) -> None:
    """What looks like one stays as it is."""
    assert "pay ${HOME}" in learnt(tmp_path, 'intents: {cancel: {examples: ["pay ${HOME}"]}}\n').catalog.intents["cancel"].examples


def test_the_same_is_written_the_same_and_read_back() -> None:
    """So that its digest names it."""
    new = LearnedIntent(new=NewIntent(description="Zażółć: yes"), route="ask", examples=("- no", "# no", "'no'", "null", "é"))
    whole = Learned(intents={"b": new, "a": LearnedIntent(min_confidence=0.85)}, out_of_scope=("1",))
    again = Learned(intents={"a": LearnedIntent(min_confidence=0.85), "b": new}, out_of_scope=("1",))
    assert digest_of(written(whole)) == digest_of(written(again))
    assert read_learned("x", {"x": written(whole)}) == (whole, [])
    assert read_learned("x", {"x": written(NOTHING)}) == (NOTHING, [])
