"""What is refused at load although it may compile: policies in which the interpreter would miss, misread or not survive something.

Findings behind these checks: an unknown function is noticed only when a request reaches it; functions that call themselves end the
process; `with` on functions and builtins is not honoured; a reference to a package that is not there is silently undefined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from adapters.rego.builtins import ARITY, reason_against, reason_against_text
from adapters.rego.plan import ADOPTED
from adapters.rego.syntax import COMPLETE, FUNCTION, Call, Module, Path, Reference, Rule

ROOT = "lockgate"
CONFIG: Path = ("data", ROOT, "config")
ENTRIES = ("admission", "decision")
LANGUAGE = (("rego", "v1"), ("future", "keywords"))


def check(modules: Sequence[Module]) -> list[str]:
    """Faults as `file:line: sentence`, in the order of files and lines; none when the policies may run."""
    if not modules:
        return ["policies:1: There is no policy; without one nothing is allowed."]
    checker = _Checker(modules)
    return [f"{file}:{line}: {sentence}" for file, line, sentence in sorted(set(checker.faults()))]


def check_apart(modules: Sequence[Module]) -> list[str]:
    """As `check`, of policies that need not answer any question yet: a library, or rules that are being written."""
    checker = _Checker(modules)
    return [f"{file}:{line}: {sentence}" for file, line, sentence in sorted(set(checker.faults(entries=False)))]


def misjudged(modules: Sequence[Module], tests: Sequence[Module]) -> dict[Path, list[str]]:
    """Which rules of `tests` the interpreter would not answer as OPA does, or not at all, and why (`file:line: sentence`); what a rule
    refers to counts as its own. Tests may print."""
    checker = _Checker([*modules, *tests], allowed=frozenset(("print",)))
    return checker.misjudged(tests)


def check_case(modules: Sequence[Module], data: Iterable[str]) -> list[str]:
    """Of modules anywhere below `data`, beside documents with the names `data`: what the interpreter would not answer as OPA does."""
    checker = _Checker(modules, data=frozenset(data))
    return [f"{file}:{line}: {sentence}" for file, line, sentence in sorted(set(checker.unsound()))]


def reached(modules: Sequence[Module], start: Path) -> set[Path]:
    """The rules that the rule `start` refers to, itself or by others; `start` too, where it is one."""
    return _Checker(modules).reached(start)


def named(modules: Sequence[Module]) -> list[tuple[Module, Rule, set[Path]]]:
    """Every definition of a rule, with the rules that it refers to."""
    checker = _Checker(modules)
    return [(module, rule, checker.named(module, rule)) for module in modules for rule in module.rules]


Fault = tuple[str, int, str]


class _Checker:
    def __init__(self, modules: Sequence[Module], allowed: frozenset[str] = frozenset(), data: frozenset[str] = frozenset()) -> None:
        """`allowed` are builtins beside those on the list; `data` the names of documents beside `lockgate.config`."""
        self._data = data
        self._modules = modules
        self._allowed = allowed
        self._rules: dict[Path, list[tuple[Module, Rule]]] = {}
        for module in modules:
            for rule in module.rules:
                self._rules.setdefault((*module.package, *rule.path), []).append((module, rule))
        self._packages = {module.package for module in modules}
        self._known = {path[:length] for path in (*self._rules, *self._packages) for length in range(1, len(path) + 1)}
        self._below: dict[Path, list[Path]] = {}
        for path in self._rules:
            for length in range(1, len(path) + 1):
                self._below.setdefault(path[:length], []).append(path)
        self._targets: dict[Path, set[Path]] = {}

    def faults(self, *, entries: bool = True) -> Iterator[Fault]:
        if entries:
            yield from self._entries()
        for module in self._modules:
            yield from self._package(module)
        yield from self.unsound()

    def unsound(self) -> Iterator[Fault]:
        yield from self._kinds()
        for module in self._modules:
            yield from self._imports(module)
            for rule in module.rules:
                yield from self._uses(module, rule, _aliases(module))
        yield from self._cycles()

    def misjudged(self, tests: Sequence[Module]) -> dict[Path, list[str]]:
        faulty: dict[Path, list[Fault]] = {}
        for module in tests:
            for rule in module.rules:
                faulty.setdefault((*module.package, *rule.path), []).extend(self._uses(module, rule, _aliases(module)))
        for path, (file, line, sentence) in self._cyclic():
            faulty.setdefault(path, []).append((file, line, sentence))
        found = {path: sorted({fault for near in self.reached(path) for fault in faulty.get(near, ())}) for path in faulty}
        return {path: [f"{file}:{line}: {sentence}" for file, line, sentence in faults] for path, faults in found.items() if faults}

    def reached(self, start: Path) -> set[Path]:
        seen: set[Path] = set()
        ahead = [start] if start in self._rules else []
        while ahead:
            path = ahead.pop()
            if path not in seen:
                seen.add(path)
                ahead.extend(self._edges(path))
        return seen

    def _entries(self) -> Iterator[Fault]:
        wanted = [("data", ROOT, entry) for entry in ENTRIES]
        intents = [package for package in self._packages if package[:3] == ("data", ROOT, "intents") or package in ADOPTED.values()]
        asked = [package for package in self._packages if package == ("data", ROOT, "review")]
        for package in (*wanted, *asked, *sorted(intents)):
            rules = self._rules.get((*package, "result"), [])
            if not any(rule.kind == COMPLETE for _, rule in rules):
                module = next((each for each in self._modules if each.package == package), self._modules[0])
                yield module.file, module.line, f"There is no rule '{'.'.join(package[1:])}.result', which decisions are read from."

    def _kinds(self) -> Iterator[Fault]:
        for path, found in self._rules.items():
            first = found[0][1]
            for module, rule in found[1:]:
                if (rule.kind, rule.arity) != (first.kind, first.arity):
                    yield module.file, rule.line, f"The rule '{path[-1]}' is of another kind than the one on line {first.line}."

    def _package(self, module: Module) -> Iterator[Fault]:
        if module.package[:2] != ("data", ROOT) or len(module.package) < 3:
            yield module.file, module.line, f"The package '{'.'.join(module.package[1:])}' must lie below '{ROOT}'."
        elif module.package[:3] == CONFIG:
            yield module.file, module.line, "The package 'lockgate.config' is for data; policies live beside it."

    def _imports(self, module: Module) -> Iterator[Fault]:
        for each in module.imports:
            if each.path[:2] in LANGUAGE:
                continue
            if any(rule.path[:1] == (each.alias,) for rule in module.rules):
                yield module.file, each.line, f"A rule has the name of the import '{each.alias}'; rename one, for OPA reads the import."
            if each.path[0] != "input" and (each.path[0] != "data" or not self._exists(each.path)):
                yield module.file, each.line, f"The import '{'.'.join(each.path)}' names nothing that is here."

    def _uses(self, module: Module, rule: Rule, aliases: Mapping[str, Path]) -> Iterator[Fault]:
        for call in rule.uses.calls:
            sentence = self._wrong_call(module, call, aliases)
            if sentence is not None:
                yield module.file, call.line, sentence
        for found in rule.uses.references:
            path = self._full(module, found, aliases)
            if path[0] == "data" and not self._local(module, rule, found, aliases) and not self._exists(path):
                yield module.file, found.line, f"There is nothing at '{'.'.join(path)}', so that it would always be undefined."
        for found in rule.uses.negated:
            if self._may_be_undefined(module, found, aliases):
                name = ".".join(found.path)
                yield (
                    module.file,
                    found.line,
                    f"OPA skips a 'not' over '{name}' when that is undefined; negate a rule or function that has it.",
                )
        for found in rule.uses.early:
            if not self._exists(self._full(module, Reference(found.path[:1], found.line), aliases)):
                yield module.file, found.line, f"The variable '{found.path[0]}' has its value only after this 'not'; put that first."
        for found in rule.uses.replaced:
            path = self._full(module, found, aliases)
            if path[0] != "input" and path[:3] != CONFIG and not self._document(path):
                yield module.file, found.line, "The embedded engine replaces only input and data.lockgate.config by 'with'."

    def _may_be_undefined(self, module: Module, found: Reference, aliases: Mapping[str, Path]) -> bool:
        """The whole input is always there, and variables are bound."""
        full = self._full(module, found, aliases)
        return not (found.whole and (full == ("input",) or (len(found.path) == 1 and full[0] not in ("data", "input"))))

    def _wrong_call(self, module: Module, call: Call, aliases: Mapping[str, Path]) -> str | None:
        """A call may have one argument more than the function: the variable that takes the answer."""
        path = self._full(module, Reference(call.name, call.line), aliases)
        name = ".".join(call.name)
        if name in self._allowed:
            return None
        if path[0] != "data":
            refused = reason_against(name) or reason_against_text(name, call.text)
            if refused is not None:
                return refused
            wanted = ARITY[name]
        else:
            functions = [rule for _, rule in self._rules.get(path, []) if rule.kind == FUNCTION]
            if not functions:
                return f"There is no function '{name}' that a policy may call."
            wanted = functions[0].arity
        if call.arguments not in (wanted, wanted + 1):
            return f"The function '{name}' takes {wanted} arguments, not {call.arguments}."
        if path == ("walk",) and call.arguments == wanted:
            return "Write walk(x, [path, value]); the embedded engine finds nothing where its answer is assigned."
        return None

    def _full(self, module: Module, found: Reference, aliases: Mapping[str, Path]) -> Path:
        """The path from `data` or `input`; a builtin's or variable's name stays as it is."""
        if not found.path:
            return ("",)
        first, rest = found.path[0], found.path[1:]
        if first in aliases:
            return (*aliases[first], *rest)
        return (*module.package, *found.path) if (*module.package, first) in self._known else found.path

    def _local(self, module: Module, rule: Rule, found: Reference, aliases: Mapping[str, Path]) -> bool:
        """Whether its first name is a variable. What `=` names is one only where it is nothing else, or where `some` says so."""
        name, uses = found.path[0], rule.uses
        if name in ("data", "input"):
            return False
        if name in uses.local:
            return True
        return name in uses.unified and (uses.declares or not (name in aliases or (*module.package, name) in self._known))

    def _document(self, path: Path) -> bool:
        """Of data, with no rule at its root."""
        return path[0] == "data" and len(path) > 1 and path[1] in self._data and path[:2] not in self._known

    def _exists(self, path: Path) -> bool:
        if path[:3] == CONFIG or path in self._known or path[1:2] in [(name,) for name in self._data]:
            return True
        return any(path[:length] in self._rules for length in range(3, len(path)))

    def _cycles(self) -> Iterator[Fault]:
        for _, fault in self._cyclic():
            yield fault

    def _cyclic(self) -> Iterator[tuple[Path, Fault]]:
        edges = {path: self._edges(path) for path in self._rules}
        for path in sorted(_on_cycle(edges)):
            module, rule = self._rules[path][0]
            yield path, (module.file, rule.line, f"The rule '{'.'.join(path[1:])}' depends on itself.")

    def _edges(self, path: Path) -> set[Path]:
        found = self._targets.get(path)
        if found is None:
            self._targets[path] = found = {target for module, rule in self._rules[path] for target in self.named(module, rule)}
        return found

    def named(self, module: Module, rule: Rule) -> set[Path]:
        """The rules that one definition of a rule refers to."""
        aliases = {each.alias: each.path for each in module.imports if each.path[0] == "data"}
        used = [Reference(call.name, call.line) for call in rule.uses.calls]
        used += [found for found in rule.uses.references if found.path[:1] and not self._local(module, rule, found, aliases)]
        return {target for found in used for target in self._reached(self._full(module, found, aliases))}

    def _reached(self, path: Path) -> Iterator[Path]:
        if path[0] != "data":
            return
        for length in range(3, len(path) + 1):
            if path[:length] in self._rules:
                yield path[:length]
        yield from self._below.get(path, ())


def _aliases(module: Module) -> dict[str, Path]:
    return {each.alias: each.path for each in module.imports if each.path[0] in ("data", "input")}


def _on_cycle(edges: Mapping[Path, set[Path]]) -> set[Path]:
    """What is left when everything that leads nowhere, and then everything that nothing leads to, is taken away."""
    return set(_core(_reversed(_core(edges))))


def _core(edges: Mapping[Path, set[Path]]) -> dict[Path, set[Path]]:
    left = {node: set(targets) for node, targets in edges.items()}
    while ends := {node for node, targets in left.items() if not targets & left.keys()}:
        for node in ends:
            del left[node]
    return {node: targets & left.keys() for node, targets in left.items()}


def _reversed(edges: Mapping[Path, set[Path]]) -> dict[Path, set[Path]]:
    turned: dict[Path, set[Path]] = {node: set() for node in edges}
    for node, targets in edges.items():
        for target in targets:
            turned[target].add(node)
    return turned
