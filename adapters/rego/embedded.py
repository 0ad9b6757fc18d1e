"""Rego in this process: the interpreter of `gordon-to-regorus`, loaded only with policies that it is known to answer rightly.

Never its compiled mode (`Rvm`): there a builtin's error becomes undefined, which turns a deny rule off. An interpreter belongs to the
thread that made it and panics in any other, so each thread that evaluates gets its own. It cannot be interrupted: a late answer is
noticed when it comes, and is a deny. Late is what took too much of this thread's CPU: a machine that gave us none for a while (a neighbour,
a container's quota) is no fault of the policy's and must not deny anybody.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import orjson
import regorus

from adapters.rego.check import ADOPTED, check
from adapters.rego.reads import reads
from adapters.rego.result import check_codes, package_name, parse_result, stricter, written
from adapters.rego.syntax import Module, Node, Path, read_module
from adapters.rego.threads import Interpreter, discard, interpreter_of
from adapters.rego.verdict_memory import VerdictMemory
from router.bundle.content import text_digest
from router.decision import Verdict
from router.errors import ConfigError, PolicyError

NAME = "embedded"
UNDEFINED = '"<undefined>"'
ADOPTING = f"{'.'.join(ADOPTED)}.result"
FLEETING = (("request", "id"), ("request", "time"))  # other in every request
ENTRIES: Mapping[str, str] = {entry: f"data.lockgate.{entry}.result" for entry in ("admission", "decision")}
EVERY = ""
WHERE = re.compile(r"^--> (?P<file>.+):(?P<line>\d+):\d+$", re.MULTILINE)
SENTENCE = re.compile(r"^error: (?P<text>.+)$", re.MULTILINE)


def load(
    policies: Mapping[str, str],
    data: Mapping[str, Any] | None = None,
    *,
    deadline_s: float = 0.05,
    remember: bool = True,
    revision: str = "",
) -> EmbeddedRego:
    """`policies` are Rego texts by path; `data` is the base document and has nothing but `lockgate.config`. `remember`: whether
    verdicts are. `revision` is a bundle's. Raises ConfigError with every fault that is found."""
    document = dict(data or {})
    check_data(document)
    modules = _compile(policies)
    faults = check(modules)
    if faults:
        raise ConfigError(*faults)
    memories = _memories(modules) if remember else {}
    return EmbeddedRego(policies, document, beside(modules), deadline_s, memories=memories, revision=revision)


@dataclass(slots=True)
class _Evaluation:
    """One document on its way through the policies; `interpreter` once one had to be asked."""

    entry: str
    document: Mapping[str, Any]
    interpreter: Interpreter | None = None
    started_ns: int = 0


class EmbeddedRego:
    """`digest` covers policies and data; `revision` is the bundle's, else the digest's beginning. `packages` are what is asked beside the
    decision: by the intent's package, and by the empty name whatever the intent. `memories` by the rule that is asked; without one it is
    evaluated."""

    waits = False  # answers before it gives up the event loop, so nothing outside can hold it to a deadline
    problem: str | None = None

    def __init__(
        self,
        policies: Mapping[str, str],
        data: Mapping[str, Any],
        packages: Mapping[str, str],
        deadline_s: float,
        clock: Callable[[], int] = time.thread_time_ns,
        memories: Mapping[str, VerdictMemory] | None = None,
        revision: str = "",
    ) -> None:
        self._policies = dict(policies)
        self._data = orjson.dumps(data, option=orjson.OPT_SORT_KEYS).decode()
        self._packages = packages
        self._written = written((*self._policies.values(), self._data))
        self._deadline_ns = int(deadline_s * 1e9)
        self._clock = clock
        self._memories = memories or {}
        self.digest = text_digest(self._policies, self._data)
        self.revision = revision or self.digest[:12]
        self._interpreter()  # most often the thread that loads is the one that evaluates

    async def open(self) -> None:
        """Everything is in this process."""

    async def close(self) -> None:
        """As above."""

    async def evaluate(self, entry: str, intent: str | None, document: Mapping[str, Any]) -> Verdict:
        rule = ENTRIES.get(entry)
        if rule is None:
            raise PolicyError(f"Policy has no entry point '{entry[:64]}'.", "policy_undefined")
        evaluation = _Evaluation(entry, document)
        verdict = self._judge(rule, evaluation)
        if entry != "decision" or not self._packages:
            return verdict
        return reduce(stricter, (self._judge(each, evaluation) for each in self._beside(intent)), verdict)

    def _beside(self, intent: str | None) -> Iterator[str]:
        for name in (package_name(intent) if intent else None, EVERY):
            if name is not None and (rule := self._packages.get(name)) is not None:
                yield rule

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
        """The input is set, and the deadline runs, once for all that one evaluation asks."""
        if evaluation.interpreter is None:
            evaluation.interpreter = self._interpreter()
            evaluation.started_ns = self._clock()
            _set_input(evaluation.interpreter.current, evaluation.document)
        answer = self._ask(evaluation.interpreter, rule)
        if self._clock() - evaluation.started_ns > self._deadline_ns:
            raise PolicyError("Policy took longer than its deadline.", "policy_late")
        return answer

    def _ask(self, interpreter: Interpreter, rule: str) -> str:
        try:
            answer: str = interpreter.current.eval_rule_as_json(rule)
        except RuntimeError as error:
            interpreter.renew()
            raise PolicyError(f"Policy stopped with an error {where(error)}.", "policy_error") from None
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a Rust panic is no Exception; whatever state it left is thrown away
            discard(self)
            raise PolicyError("The policy engine broke off; it is built anew.", "policy_error") from error
        if answer == UNDEFINED:
            raise PolicyError(f"Policy gave no answer: {rule} is undefined.", "policy_undefined")
        return answer

    def _verdict(self, answer: str, entry: str) -> Verdict:
        verdict = parse_result(orjson.loads(answer), entry, NAME, self.revision, self.digest)
        check_codes(verdict, self._written)
        return verdict

    def _interpreter(self) -> Interpreter:
        return interpreter_of(self, self._build)

    def _build(self) -> Any:
        return interpreter(self._policies, self._data)


def _set_input(engine: Any, document: Mapping[str, Any]) -> None:
    """As JSON text: quicker than converting objects, and every engine is given the same."""
    try:
        engine.set_input_json(orjson.dumps(document).decode())
    except (TypeError, RuntimeError):
        raise PolicyError("The policy input cannot be written as JSON.", "policy_error") from None


def interpreter(policies: Mapping[str, str], data: str) -> Any:
    engine = regorus.Engine()
    for path, text in sorted(policies.items()):
        engine.add_policy(path, text)
    engine.add_data_json(data)
    return engine


def _compile(policies: Mapping[str, str]) -> list[Module]:
    return [read_module(tree) for tree in trees(policies)]


def trees(policies: Mapping[str, str]) -> list[Node]:
    """The interpreter's syntax tree of each file by itself, so that every file's fault is found, in the order of their paths. Raises
    ConfigError."""
    faults: list[str] = []
    found: list[Node] = []
    for path, text in sorted(policies.items()):
        engine = regorus.Engine()
        try:
            engine.add_policy(path, text)
            engine.eval_query("true")
            found.append(orjson.loads(engine.get_ast_as_json())[0])
        except RuntimeError as error:
            faults.append(_fault(path, error))
    if faults:
        raise ConfigError(*faults)
    return found


def compile_all(policies: Mapping[str, str], tests: Mapping[str, str]) -> tuple[list[Module], list[Module]]:
    """The modules of the policies and those of their tests. Raises ConfigError with what does not compile."""
    modules = _compile({**policies, **tests})
    return [each for each in modules if each.file not in tests], [each for each in modules if each.file in tests]


def beside(modules: list[Module]) -> dict[str, str]:
    """The rules that are asked beside the decision's, by the intent's package; by the empty name what is asked whatever the intent."""
    packages = {module.package for module in modules if module.package[1:3] == ("lockgate", "intents") and len(module.package) == 4}
    found = {package[3]: f"{'.'.join(package)}.result" for package in sorted(packages)}
    return {**found, EVERY: ADOPTING} if any(module.package == ADOPTED for module in modules) else found


def _memories(modules: list[Module]) -> dict[str, VerdictMemory]:
    """For every question whose answer depends on parts of the input that are known."""
    asked: dict[str, Path] = {rule: ("data", "lockgate", entry) for entry, rule in ENTRIES.items()}
    asked |= {rule: tuple(rule.split(".")[:-1]) for rule in beside(modules).values()}
    found = {rule: reads(modules, package) for rule, package in asked.items()}
    return {rule: VerdictMemory(paths) for rule, paths in found.items() if paths is not None and not any(map(_fleeting, paths))}


def _fleeting(path: Path) -> bool:
    """Whether what stands there is another for every request, so that no verdict by it is asked for again."""
    return any(path[: len(each)] == each[: len(path)] for each in FLEETING)


def check_data(data: Mapping[str, Any]) -> None:
    """Data beside a rule of the same name would decide in its place."""
    below = data.get("lockgate", {})
    if data.keys() - {"lockgate"} or not isinstance(below, dict) or below.keys() - {"config"}:
        raise ConfigError("data.yaml:1: Policy data must lie below 'lockgate.config'.")


def _fault(path: str, error: RuntimeError) -> str:
    found, sentence = WHERE.search(str(error)), SENTENCE.search(str(error))
    text = sentence["text"].strip() if sentence else "the file cannot be read"
    return f"{path}:{found['line'] if found else 1}: The policy does not compile: {text.rstrip('.')}."


def where(error: RuntimeError) -> str:
    """Place and kind; what the interpreter quotes may be what a person sent, and is left out."""
    found, sentence = WHERE.search(str(error)), SENTENCE.search(str(error))
    kind = re.sub(r"`[^`]*`", "…", sentence["text"])[:120] if sentence else "of no known kind"
    return f"at {found['file']}:{found['line']}: {kind}" if found else f"({kind})"
