"""Rego in this process: the interpreter of `gordon-to-regorus`, loaded only with policies that it is known to answer rightly.

Never its compiled mode (`Rvm`): there a builtin's error becomes undefined, which turns a deny rule off. An interpreter belongs to the
thread that made it and panics in any other, so each thread that evaluates gets its own: one for each set of files that a question needs,
for the interpreter's work grows with the files that it has, whether an answer needs them or not. It cannot be interrupted: a late answer is
noticed when it comes, and is a deny. Late is what took too much of this thread's CPU: a machine that gave us none for a while (a neighbour,
a container's quota) is no fault of the policy's and must not deny anybody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

import orjson
import regorus

from adapters.rego.answers import SENTENCE, WHERE, data_text, input_text, memories, stopped, undefined
from adapters.rego.answers import UNDEFINED as UNDEFINED
from adapters.rego.answers import where as place_and_kind
from adapters.rego.check import check
from adapters.rego.plan import ENTRIES, Plan, make_plan
from adapters.rego.result import check_codes, package_names, parse_result, written
from adapters.rego.syntax import Module, Node, read_module
from adapters.rego.threads import Interpreter, discard, interpreter_of
from router.bundle.content import text_digest
from router.decision import Verdict
from router.errors import ConfigError, PolicyError
from router.ports import Intents
from router.verdicts import stricter

NAME = "embedded"
KEPT_MODULES: Final = 256  # some 25 KiB each
T = TypeVar("T")


def load(
    policies: Mapping[str, str],
    data: Mapping[str, Any] | None = None,
    *,
    deadline_s: float = 0.05,
    remember: bool = True,
    revision: str = "",
    plan: Plan | None = None,
) -> EmbeddedRego:
    """`policies` are Rego texts by path; `data` is the base document and has nothing but `lockgate.config`. `remember`: whether
    verdicts are. `revision` is a bundle's. `plan` is what `checked_plan` gave of the same, somewhere else. Raises ConfigError with every
    fault that is found."""
    document = dict(data or {})
    return EmbeddedRego(policies, document, plan or checked_plan(policies, document), deadline_s, remember=remember, revision=revision)


def checked_plan(policies: Mapping[str, str], data: Mapping[str, Any]) -> Plan:
    """Takes a millisecond a rule, for which it holds the interpreter. Raises ConfigError with every fault."""
    check_data(data)
    modules = _compile(policies)
    faults = check(modules)
    if faults:
        raise ConfigError(*faults)
    return make_plan(modules)


class _Part:
    """The files that some questions need; interpreters of them are held by it, one a thread."""

    __slots__ = ("__weakref__", "files")

    def __init__(self, files: tuple[str, ...]) -> None:
        self.files = files


@dataclass(slots=True)
class _Evaluation:
    """One document on its way through the policies; `text` once an interpreter had to be asked."""

    entry: str
    document: Mapping[str, Any]
    text: str | None = None
    spent_ns: int = 0


class EmbeddedRego:
    """`digest` covers policies and data; `revision` is the bundle's, else the digest's beginning."""

    waits = False  # answers before it gives up the event loop, so nothing outside can hold it to a deadline
    problem: str | None = None

    def __init__(
        self,
        policies: Mapping[str, str],
        data: Mapping[str, Any],
        plan: Plan,
        deadline_s: float,
        clock: Callable[[], int] = time.thread_time_ns,
        revision: str = "",
        *,
        remember: bool = True,
    ) -> None:
        self._policies = dict(policies)
        self._data = data_text(data)
        self.plan = plan
        self._written = written((*self._policies.values(), self._data))
        self._deadline_ns = int(deadline_s * 1e9)
        self._clock = clock
        parts = {each.files: _Part(each.files) for each in plan.questions.values()}
        self._parts = {rule: parts[each.files] for rule, each in plan.questions.items()}
        self._memories = memories(plan, data) if remember else {}
        self.digest = text_digest(self._policies, self._data)
        self.revision = revision or self.digest[:12]

    async def open(self) -> None:
        """Makes the interpreters of this thread, which would otherwise be made when they are first needed; one at a time, and the event
        loop has as long for others as each took."""
        for part in dict.fromkeys(self._parts.values()):
            began = time.perf_counter()
            self._interpreter(part)
            await asyncio.sleep(time.perf_counter() - began)

    async def close(self) -> None:
        """Everything is in this process."""

    def afresh(self) -> EmbeddedRego:
        """The same, with the same interpreters, that remembers nothing: for who asks how long it takes."""
        other = copy(self)
        other._memories = {}
        return other

    async def evaluate(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Verdict:
        rule = ENTRIES.get(entry)
        if rule is None or rule not in self._parts:
            raise PolicyError(f"Policy has no entry point '{entry[:64]}'.", "policy_undefined")
        evaluation = _Evaluation(entry, document)
        verdict = self._judge(rule, evaluation)
        for package in self.plan.beside(package_names(intent, entry), entry):
            verdict = stricter(verdict, self._judge(package, evaluation))
        return verdict

    def _judge(self, rule: str, evaluation: _Evaluation) -> Verdict:
        """What was answered for the same values before, or the interpreter's answer. Only verdicts are remembered, never a failure."""
        memory = self._memories.get(rule)
        key = memory.key(evaluation.document) if memory is not None else None
        known = memory.get(key) if memory is not None and key is not None else None
        if known is not None:
            return known
        verdict = self._verdict(self._answer(rule, evaluation), evaluation.entry)
        if memory is not None and key is not None:
            memory.put(key, verdict)
        return verdict

    def _answer(self, rule: str, evaluation: _Evaluation) -> str:
        """The deadline is for all that one evaluation asks; making an interpreter is no part of it."""
        part = self._parts[rule]
        interpreter = self._interpreter(part)
        if evaluation.text is None:
            evaluation.text = input_text(evaluation.document)
        began = self._clock()
        answer = self._ask(part, interpreter, rule, evaluation.text)
        evaluation.spent_ns += self._clock() - began
        if evaluation.spent_ns > self._deadline_ns:
            raise PolicyError("Policy took longer than its deadline.", "policy_late")
        return answer

    def _ask(self, part: _Part, interpreter: Interpreter, rule: str, text: str) -> str:
        try:
            interpreter.current.set_input_json(text)
            answer: str = interpreter.current.eval_rule_as_json(rule)
        except RuntimeError as error:
            interpreter.renew()
            raise stopped(str(error)) from None
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a Rust panic is no Exception; whatever state it left is thrown away
            discard(part)
            raise PolicyError("The policy engine broke off; it is built anew.", "policy_error") from error
        if answer == UNDEFINED:
            raise undefined(rule)
        return answer

    def _verdict(self, answer: str, entry: str) -> Verdict:
        verdict = parse_result(orjson.loads(answer), entry, NAME, self.revision, self.digest)
        check_codes(verdict, self._written)
        return verdict

    def _interpreter(self, part: _Part) -> Interpreter:
        return interpreter_of(part, lambda: self._build(part))

    def _build(self, part: _Part) -> Any:
        """A copy of the one that has the data, which all share."""
        engine = interpreter_of(self, lambda: interpreter({}, self._data)).pristine.clone()
        for path in part.files:
            engine.add_policy(path, self._policies[path])
        engine.eval_query("true")  # its rules are put in order now, and not at the first question
        return engine


def interpreter(policies: Mapping[str, str], data: str) -> Any:
    engine = regorus.Engine()
    for path, text in sorted(policies.items()):
        engine.add_policy(path, text)
    engine.add_data_json(data)
    return engine


def _compile(policies: Mapping[str, str]) -> list[Module]:
    return _each(policies, _module)


def trees(policies: Mapping[str, str]) -> list[Node]:
    """The interpreter's syntax tree of each file by itself, so that every file's fault is found, in the order of their paths. Raises
    ConfigError."""
    return _each(policies, _tree)


def _each(policies: Mapping[str, str], read: Callable[[str, str], T]) -> list[T]:
    faults: list[str] = []
    found: list[T] = []
    for path, text in sorted(policies.items()):
        try:
            found.append(read(path, text))
        except RuntimeError as error:
            faults.append(_fault(path, error))
    if faults:  # from here, where no engine is: they end on the thread that made them, and an error may be told on another
        raise ConfigError(*faults)
    return found


def _tree(path: str, text: str) -> Node:
    """Raises RuntimeError."""
    engine = regorus.Engine()
    engine.add_policy(path, text)
    engine.eval_query("true")
    tree: Node = orjson.loads(engine.get_ast_as_json())[0]
    return tree


@lru_cache(maxsize=KEPT_MODULES)
def _module(path: str, text: str) -> Module:
    """Raises RuntimeError. Kept, for a command asks for the same files several times, and most are as they were in what comes next."""
    return read_module(_tree(path, text))


def compile_all(policies: Mapping[str, str], tests: Mapping[str, str]) -> tuple[list[Module], list[Module]]:
    """The modules of the policies and those of their tests. Raises ConfigError with what does not compile."""
    modules = _compile({**policies, **tests})
    return [each for each in modules if each.file not in tests], [each for each in modules if each.file in tests]


def check_data(data: Mapping[str, Any]) -> None:
    """Raises ConfigError."""
    data_text(data)


def _fault(path: str, error: RuntimeError) -> str:
    found, sentence = WHERE.search(str(error)), SENTENCE.search(str(error))
    text = sentence["text"].strip() if sentence else "the file cannot be read"
    return f"{path}:{found['line'] if found else 1}: The policy does not compile: {text.rstrip('.')}."


def where(error: RuntimeError) -> str:
    """Place and kind of what stopped an evaluation."""
    return place_and_kind(str(error))
