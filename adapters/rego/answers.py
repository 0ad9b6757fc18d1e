"""What both engines that run the interpreter, in this process or beside it, do with a document before and with an answer after."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from adapters.rego.plan import Plan
from adapters.rego.reads import Read
from adapters.rego.syntax import Path
from adapters.rego.verdict_memory import VerdictMemory
from router.errors import ConfigError, PolicyError

UNDEFINED = '"<undefined>"'
WHERE = re.compile(r"^--> (?P<file>.+):(?P<line>\d+):\d+$", re.MULTILINE)
SENTENCE = re.compile(r"^error: (?P<text>.+)$", re.MULTILINE)
FLEETING = (("request", "id"), ("request", "time"))  # other in every request


def input_text(document: Mapping[str, Any]) -> str:
    """As JSON text: quicker than converting objects, and every engine is given the same. Raises PolicyError."""
    try:
        return orjson.dumps(document).decode()
    except TypeError:
        raise PolicyError("The policy input cannot be written as JSON.", "policy_error") from None


def data_text(data: Mapping[str, Any]) -> str:
    """Raises ConfigError for data beside a rule of the same name, which would decide in its place."""
    below = data.get("lockgate", {})
    if data.keys() - {"lockgate"} or not isinstance(below, dict) or below.keys() - {"config"}:
        raise ConfigError("data.yaml:1: Policy data must lie below 'lockgate.config'.")
    return orjson.dumps(data, option=orjson.OPT_SORT_KEYS).decode()


def memories(plan: Plan, data: Mapping[str, Any]) -> dict[str, VerdictMemory]:
    """For every question whose answer depends on parts of the input that are known. `data` is the base document."""
    found: dict[str, VerdictMemory] = {}
    for rule, question in plan.questions.items():
        if question.reads is not None:
            paths = [_named(each, data) for each in question.reads if not each.kind]
            if not any(map(_fleeting, paths)):
                found[rule] = VerdictMemory(paths, [each.path for each in question.reads if each.kind])
    return found


def _named(read: Read, data: Mapping[str, Any]) -> Path:
    """With the member that a setting names; without it, where the setting is not there or no name."""
    name: Any = data if read.by else None
    for part in read.by[1:]:
        name = name.get(part) if isinstance(name, Mapping) else None
    return (*read.path, name) if isinstance(name, str) else read.path


def _fleeting(path: Path) -> bool:
    """Whether what stands there is another for every request, so that no verdict by it is asked for again."""
    return any(path[: len(each)] == each[: len(path)] for each in FLEETING)


def stopped(error: str) -> PolicyError:
    return PolicyError(f"Policy stopped with an error {where(error)}.", "policy_error")


def undefined(rule: str) -> PolicyError:
    return PolicyError(f"Policy gave no answer: {rule} is undefined.", "policy_undefined")


def where(error: str) -> str:
    """Place and kind; what the interpreter quotes may be what a person sent, and is left out."""
    found, sentence = WHERE.search(error), SENTENCE.search(error)
    kind = re.sub(r"`[^`]*`", "…", sentence["text"])[:120] if sentence else "of no known kind"
    return f"at {found['file'][:200]}:{found['line'][:9]}: {kind}" if found else f"({kind})"
