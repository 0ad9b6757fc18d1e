"""Rego tests in OPA's own engine as a library (`opa-golib-python-bindings`). It cannot be stopped, and `http.send` is live in it: for tests
of one's own, which the embedded engine's checks have passed before."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import opa_bindings
from opa_bindings import OpaEngine, OpaError, OpaUndefinedError

from router.bundle.tested import FAILED, PASSED, SKIPPED, Tested
from router.errors import PolicyError

PACKAGE = "opa-golib-python-bindings"
BUILT_WITH = re.compile(rb"dep\tgithub\.com/open-policy-agent/opa\tv(\d[\w.+-]{0,40})\t")  # Go's build information


def run_in_library(texts: Mapping[str, str], data: Mapping[str, Any], tests: Iterable[tuple[str, bool]]) -> Tested:
    """`tests` are names with their packages, and whether each is to be run. Raises PolicyError where the policies do not compile."""
    outcomes: dict[str, str] = {}
    why: dict[str, str] = {}
    with OpaEngine() as engine:
        engine.print_handler = lambda *_: None
        try:
            for name, text in texts.items():
                engine.add_policy(name, text)
            engine.add_data(dict(data))
            engine.eval_query("true")  # compiles
        except OpaError as error:
            raise PolicyError(f"OPA does not take the policies: {_said(error)}.", "policy_refused") from None
        for name, runs in tests:
            outcomes[name], why[name] = _outcome(engine, name) if runs else (SKIPPED, "")
    return Tested(opa_version(), "library", outcomes, why)


def opa_version() -> str:
    """Of the OPA that the library was built with; of its package where it does not say."""
    for file in Path(opa_bindings.__file__).parent.glob("*.so"):
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if (found := BUILT_WITH.search(content)) is not None:
                return found[1].decode()
    return f"({PACKAGE} {version(PACKAGE)})"


def _outcome(engine: OpaEngine, name: str) -> tuple[str, str]:
    try:
        answer = engine.eval_document(name)
    except OpaUndefinedError:
        return FAILED, "it is undefined"
    except OpaError as error:
        return FAILED, f"it stopped with an error ({_said(error)})"
    return (PASSED, "") if answer is True else (FAILED, f"it is {json.dumps(answer)[:80]}, not true")


def _said(error: OpaError) -> str:
    return "".join(each if each.isprintable() else " " for each in error.message[:300]).rstrip(". ")
