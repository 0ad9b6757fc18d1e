"""One tokenizer for all encoders that have the same, for as long as one of them is there."""

from __future__ import annotations

import gc
from dataclasses import replace

from embeddings.manifest import read_manifest
from embeddings.minilm import load_minilm, minilm_directory
from embeddings.static_encoder import StaticEncoder
from embeddings.tokens import FILE, Tokens

FOLDER = minilm_directory()
MANIFEST = read_manifest(FOLDER)
KEY = (MANIFEST.files[FILE], MANIFEST.max_tokens)


def test_both_encoders_of_a_directory_share_it() -> None:
    encoder, table = load_minilm(), StaticEncoder(FOLDER)
    assert encoder.words is table.words
    assert Tokens.of(FOLDER, MANIFEST).words is table.words


def test_texts_are_cut_where_each_encoder_cuts_them() -> None:
    short, long = Tokens.of(FOLDER, replace(MANIFEST, max_tokens=8)), Tokens.of(FOLDER, MANIFEST)
    assert [len(each.tokenizer.encode("word " * 50).ids) for each in (short, long)] == [8, 52]


def test_it_goes_with_the_last_that_has_it() -> None:
    kept = Tokens.of(FOLDER, replace(MANIFEST, max_tokens=9))
    assert (KEY[0], 9) in Tokens._open
    del kept
    gc.collect()
    assert (KEY[0], 9) not in Tokens._open
