from __future__ import annotations

import ast
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "verifier" / "lockgate_verify"
ALLOWED = sys.stdlib_module_names | {"cryptography", "lockgate_verify"}
REACHING = {"socket", "ssl", "http", "urllib", "subprocess", "ctypes", "asyncio", "importlib", "pickle", "os"}


def imported(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named = [node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in (*plain, *named)}


def test_the_verifier_imports_the_standard_library_and_cryptography_only() -> None:
    """Nothing of Lockgate: a stranger reads these files and no others. Nor what could reach a network or another program."""
    files = sorted(FOLDER.glob("*.py"))
    assert files
    names = set[str]().union(*map(imported, files))
    assert sorted(names - ALLOWED) == []
    assert sorted(names & REACHING) == []


def test_lockgate_does_not_import_the_verifier() -> None:
    """What is checked and what checks stay apart."""
    root = FOLDER.parents[1]
    files = [file for folder in ("router", "adapters", "embeddings") for file in (root / folder).rglob("*.py")]
    assert [file for file in files if "lockgate_verify" in imported(file)] == []
