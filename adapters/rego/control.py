"""Who may do what in the control API, asked of Rego in this process: one interpreter a thread, no compiled mode, as for requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from adapters.rego.answers import UNDEFINED, data_text, input_text
from adapters.rego.check import check_apart
from adapters.rego.embedded import interpreter, trees
from adapters.rego.syntax import read_module
from adapters.rego.threads import discard, interpreter_of
from router.bundle.content import text_digest
from router.errors import ConfigError, PolicyError

RULE = "data.lockgate.control.result"
OWN = ("lockgate", "control", "own")
EFFECTS = ("allow", "deny")
MOST_REASONS, MOST_TEXT = 32, 300
CODE = re.compile(r"[a-z0-9_.-]{1,64}")


class ControlRego:
    """`policies` are Rego texts by path, the shipped ones and the workspace's `own`, which add to the package of that name. Raises
    ConfigError with every fault."""

    def __init__(self, policies: Mapping[str, str], own: Mapping[str, str], data: Mapping[str, Any]) -> None:
        self._policies = {**policies, **own}
        self._data = data_text(data)
        modules = [read_module(tree) for tree in trees(self._policies)]
        strangers = [module.file for module in modules if module.file in own and module.package[-len(OWN) :] != OWN]
        faults = [f"{file}:1: Rules for the control API are in the package 'lockgate.control.own'." for file in strangers]
        faults += check_apart(modules)
        if faults:
            raise ConfigError(*faults)
        self.digest = text_digest(self._policies, self._data)

    def judge(self, question: Mapping[str, Any]) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The effect, `allow` or `deny`, and reasons as (code, sentence). Raises PolicyError `control_policy_undefined`,
        `control_policy_error`."""
        held = interpreter_of(self, lambda: interpreter(self._policies, self._data))
        try:
            held.current.set_input_json(input_text(question))
            answer = held.current.eval_rule_as_json(RULE)
        except RuntimeError as error:
            held.renew()
            raise PolicyError("The policy of the control API stopped with an error; nothing was done.", "control_policy_error") from error
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a Rust panic is no Exception; whatever state it left is thrown away
            discard(self)
            raise PolicyError("The policy of the control API broke off; nothing was done.", "control_policy_error") from error
        if answer == UNDEFINED:
            raise PolicyError("The policy of the control API has no answer to this; nothing was done.", "control_policy_undefined")
        return _read(orjson.loads(answer))


def _read(answer: Any) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Raises PolicyError for anything but an effect with reasons: what is not understood allows nothing."""
    effect, reasons = (answer.get("effect"), answer.get("reasons")) if isinstance(answer, dict) else (None, None)
    if effect not in EFFECTS or not isinstance(reasons, list) or not 0 < len(reasons) <= MOST_REASONS:
        raise _malformed()
    return effect, tuple(map(_reason, reasons))


def _reason(told: Any) -> tuple[str, str]:
    code, message = (told.get("code"), told.get("message")) if isinstance(told, dict) else (None, None)
    if not isinstance(code, str) or not isinstance(message, str) or not CODE.fullmatch(code) or len(message) > MOST_TEXT:
        raise _malformed()
    return code, message


def _malformed() -> PolicyError:
    return PolicyError("The policy of the control API gave an answer that is none; nothing was done.", "control_policy_error")
