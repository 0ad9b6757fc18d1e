"""`opa test --format json` in a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from router.bundle.content import PART
from router.bundle.tested import FAILED, PASSED, SKIPPED, Tested
from router.errors import PolicyError

VERSION = re.compile(r"^Version:\s*v?(\d+)(\.[\w.+-]+)\s*$", re.MULTILINE)
LEAST_MAJOR = 1  # Rego as `opa` before it reads it is another language
DEADLINE_S = 300.0
REFUSED = "policy_refused"


def run_by_binary(binary: str, texts: Mapping[str, str], data: Mapping[str, Any]) -> Tested:
    """Raises PolicyError where it cannot be run, or does not take the files."""
    with tempfile.TemporaryDirectory(prefix="lockgate-opa-test-") as name:
        folder = Path(name)
        version = _version(binary, folder)
        for file, text in texts.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text, encoding="utf-8", newline="")
        (folder / "data.json").write_bytes(orjson.dumps(data))
        done = _run(binary, folder, "test", "--format", "json", ".")
    outcomes, why = read_report(done.stdout, done.stderr, binary)
    return Tested(version, "binary", outcomes, why)


def read_report(report: bytes, said: bytes, binary: str) -> tuple[dict[str, str], dict[str, str]]:
    """Outcomes by test, and why. `report` is a list of objects with `package`, `name`, and at most one of `fail`, `skip` and `error`."""
    try:
        found = orjson.loads(report or b"null")
        if not isinstance(found, list):
            raise ValueError
        outcomes = {_name(each): _outcome(each) for each in found}
    except (ValueError, TypeError, LookupError, AttributeError):
        reason = "".join(each if each.isprintable() else " " for each in said.decode("utf-8", "replace")[:300]).strip()
        raise PolicyError(f"`{binary} test` gave no report: {reason or 'it said nothing'}.", REFUSED) from None
    return outcomes, {_name(each): "it stopped with an error" for each in found if each.get("error") is not None}


def _outcome(each: Mapping[str, Any]) -> str:
    if each.get("skip"):
        return SKIPPED
    return FAILED if each.get("fail") or each.get("error") is not None else PASSED


def _name(each: Mapping[str, Any]) -> str:
    """With the package, without `data`, in the words of our own runner."""
    parts = [quoted or plain for quoted, plain in PART.findall(f"{each['package']}.{each['name']}")]
    return ".".join(parts[1:])


def _version(binary: str, folder: Path) -> str:
    found = VERSION.search(_run(binary, folder, "version").stdout.decode("utf-8", "replace"))
    if found is None:
        raise PolicyError(f"`{binary} version` does not say which OPA it is.", REFUSED)
    if int(found[1]) < LEAST_MAJOR:
        raise PolicyError(f"`{binary}` is OPA {found[1]}{found[2]}; tests need 1.0 or newer.", REFUSED)
    return f"{found[1]}{found[2]}"


def _run(binary: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Nothing of this environment but where programs are: tests are to say the same everywhere."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder)}
    try:
        return subprocess.run(  # noqa: S603  # the program that was named
            [binary, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PolicyError(f"`{binary} {arguments[0]}` did not end within {DEADLINE_S:g} s.", REFUSED) from None
    except OSError as error:
        raise PolicyError(f"`{binary}` cannot be run: {error.strerror}.", REFUSED) from error
