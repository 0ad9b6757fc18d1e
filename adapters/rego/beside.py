"""Policies of Lockgate's own, asked of Rego in this process beside those for requests: one interpreter a thread, no compiled mode."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from adapters.rego.answers import UNDEFINED, data_text, input_text
from adapters.rego.check import check_apart
from adapters.rego.embedded import interpreter, trees
from adapters.rego.syntax import read_module
from adapters.rego.threads import discard, interpreter_of
from router.bundle.content import text_digest
from router.errors import ConfigError, PolicyError

EFFECTS = ("allow", "deny")
MOST_REASONS, MOST_TEXT = 32, 300
CODE = re.compile(r"[a-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Which:
    """`called` begins sentences; `codes` are of an answer that is not there (`undefined`) and of one that is none (`error`); `own` is the
    package to which a workspace adds, `of` what its rules are for."""

    called: str
    codes: Mapping[str, str]
    rule: str
    own: tuple[str, ...]
    of: str


class BesideRego:
    """`policies` are Rego texts by path, the shipped ones and the workspace's `own`. `digest` names what it consists of. Raises ConfigError
    with every fault."""

    def __init__(self, which: Which, policies: Mapping[str, str], own: Mapping[str, str], data: Mapping[str, Any]) -> None:
        self._which = which
        self._policies = {**policies, **own}
        self._data = data_text(data)
        modules = [read_module(tree) for tree in trees(self._policies)]
        strangers = [module.file for module in modules if module.file in own and module.package[-len(which.own) :] != which.own]
        faults = [f"{file}:1: Rules for {which.of} are in the package '{'.'.join(which.own)}'." for file in strangers]
        faults += check_apart(modules)
        if faults:
            raise ConfigError(*faults)
        self.digest = text_digest(self._policies, self._data)

    def ask(self, question: Mapping[str, Any]) -> Any:
        """Raises PolicyError."""
        held = interpreter_of(self, lambda: interpreter(self._policies, self._data))
        try:
            held.current.set_input_json(input_text(question))
            answer = held.current.eval_rule_as_json(self._which.rule)
        except RuntimeError as error:
            held.renew()
            raise self._failed("stopped with an error") from error
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a Rust panic is no Exception; whatever state it left is thrown away
            discard(self)
            raise self._failed("broke off") from error
        if answer == UNDEFINED:
            raise PolicyError(f"{self._which.called} has no answer to this; nothing was done.", self._which.codes["undefined"])
        return orjson.loads(answer)

    def effect(self, answer: Any) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The effect, `allow` or `deny`, and reasons as (code, sentence). Raises PolicyError for anything but an effect with reasons: what
        is not understood allows nothing."""
        effect, reasons = (answer.get("effect"), answer.get("reasons")) if isinstance(answer, dict) else (None, None)
        if effect not in EFFECTS or not isinstance(reasons, list) or not 0 < len(reasons) <= MOST_REASONS:
            raise self.malformed()
        return effect, tuple(map(self._reason, reasons))

    def malformed(self) -> PolicyError:
        return self._failed("gave an answer that is none")

    def _reason(self, told: Any) -> tuple[str, str]:
        code, message = (told.get("code"), told.get("message")) if isinstance(told, dict) else (None, None)
        if not isinstance(code, str) or not isinstance(message, str) or not CODE.fullmatch(code) or len(message) > MOST_TEXT:
            raise self.malformed()
        return code, message

    def _failed(self, how: str) -> PolicyError:
        return PolicyError(f"{self._which.called} {how}; nothing was done.", self._which.codes["error"])
