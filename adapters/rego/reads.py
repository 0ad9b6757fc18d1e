"""What of the input a policy can read, found in its text. Whoever knows that may remember an answer by the values that stand there.

What is looked up by a setting is read by the name that the setting has: `input.request.headers[data.lockgate.config.tenant.header]` is one
header, and of what is only asked for its kind (`is_object`) nothing but that is read. So what callers write into other headers, an id of
theirs, a trace, is no reason to evaluate again.

It errs on one side only: a path too many costs memory, one too few would give a request another one's verdict. So every package counts
that is named anywhere in a package that counts; a reference counts up to where it is written out; and whatever hands the whole input on,
other than to a function whose text is known, makes the answer one that is not remembered. Builtins that read anything but their arguments
(clock, chance, network) are refused at load (see `builtins`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from adapters.rego.syntax import FUNCTION, KIND_ASKING, Call, Module, Path, Reference, Rule

INPUT = "input"
SETTINGS: Path = ("data", "lockgate", "config")  # the only place of the base document, which no request changes
Handed = tuple[Path, int]  # a function and the place of its parameter


@dataclass(frozen=True, slots=True, order=True)
class Read:
    """What stands at `path` below the input: all of it, or only its member of the name that the setting at `by` has, or only its kind."""

    path: Path
    by: Path = ()
    kind: bool = False


def reads(modules: Sequence[Module], package: Path) -> tuple[Read, ...] | None:
    """What rules of `package` may read of the input, themselves or by others; None where that may be all of it."""
    found = _Reads(_reachable(modules, package))
    return found.outermost() if found.settle() else None


def reached_files(modules: Sequence[Module], package: Path) -> tuple[str, ...]:
    """The files that can play a part in what rules of `package` answer: an interpreter with these alone answers as one with all of them."""
    return tuple(sorted({module.file for module in _reachable(modules, package)}))


@dataclass(frozen=True, slots=True)
class Place:
    """`path` below the input is read here, by `rule`; compared with `text`, where there is one. `body` is the line on which that one of the
    rule's bodies begins."""

    file: str
    line: int
    path: Path
    rule: Path
    text: str | None = None
    body: int = 0


def places(modules: Sequence[Module]) -> list[Place]:
    """Every place that reads the input as far as it is written out, in functions that are handed it too."""
    found = _Reads(list(modules))
    found.settle()
    return sorted(found.places, key=lambda each: (each.file, each.line, each.path, each.text or ""))


def wanted_texts(modules: Sequence[Module]) -> list[Place]:
    """Every place with the literal string that it is compared with, or that is looked for in it."""
    found = _Reads(list(modules))
    found.settle()
    texts = {each for each in found.places if each.text is not None} | found.members
    return sorted(texts, key=lambda each: (each.file, each.line, each.path, each.text or ""))


def named_by(modules: Sequence[Module], path: Path) -> frozenset[Path]:
    """The settings that say which member of what stands at `path` is read."""
    found = _Reads(list(modules))
    found.settle()
    return frozenset(each.by for each in found.found if each.by and each.path == path)


def may_read(modules: Sequence[Module], path: Path) -> bool:
    """Whether anything may read what stands there, of what is above it or below: also by a name that it gives it, or out of all of it."""
    found = _Reads(list(modules))
    return not found.settle() or any(_meet(each.path, path) for each in found.found)


def _reachable(modules: Sequence[Module], package: Path) -> list[Module]:
    """Every module of a package that is named, by its beginning at least, in one that is reached."""
    named: set[Path] = {package}
    reached: dict[int, Module] = {}
    while True:
        new = [each for each in modules if id(each) not in reached and any(_meet(each.package, path) for path in named)]
        if not new:
            return list(reached.values())
        for module in new:
            reached[id(module)] = module
            named.update(_names(module))


def _meet(one: Path, other: Path) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _names(module: Module) -> Iterator[Path]:
    """A name without `data` before it may be one of the package's own, or of an import."""
    yield from (each.path for each in module.imports)
    aliases = {each.alias: each.path for each in module.imports}
    for rule in module.rules:
        for path in (*(call.name for call in rule.uses.calls), *(found.path for found in rule.uses.references)):
            if path:
                yield (*aliases.get(path[0], path[:1]), *path[1:])
                yield (*module.package, *path)


@dataclass
class _Reads:
    modules: list[Module]
    found: set[Read] = field(default_factory=set)
    handed: set[Handed] = field(default_factory=set)  # parameters that are given the whole input somewhere
    places: set[Place] = field(default_factory=set)
    members: set[Place] = field(default_factory=set)
    settled: bool = False  # settings are what they are: nothing replaces them, and no rule adds to them
    own: frozenset[Path] = frozenset()  # functions of the policies' own that are called as the builtins which ask for a kind

    def __post_init__(self) -> None:
        rules = [(module, rule) for module in self.modules for rule in module.rules]
        replaced = any(each.path[:1] != (INPUT,) for _, rule in rules for each in rule.uses.replaced)
        added = any(_meet((*module.package, *rule.path), SETTINGS) for module, rule in rules)
        self.settled = not (replaced or added)
        self.own = frozenset(rule.path[-1:] for _, rule in rules) | {(each.alias,) for module in self.modules for each in module.imports}

    def settle(self) -> bool:
        """Looks until nothing new is handed the input; False when something may read all of it."""
        while True:
            before = len(self.handed)
            known = [self._rule(module, rule) for module in self.modules for rule in module.rules]
            if len(self.handed) == before:
                return all(known)

    def outermost(self) -> tuple[Read, ...]:
        whole = {each.path for each in self.found if not each.by and not each.kind}
        return tuple(sorted(each for each in self.found if not any(path in whole for path in _above(each))))

    def _rule(self, module: Module, rule: Rule) -> bool:
        heads: dict[str, Path] = {INPUT: (), **{each.alias: each.path[1:] for each in module.imports if each.path[0] == INPUT}}
        full = (*module.package, *rule.path)
        for place in range(len(rule.parameters)):
            if (full, place) in self.handed:
                name = rule.parameters[place]
                if name is None:
                    return False
                heads[name] = ()
        for known, texts in ((self.places, rule.uses.compared), (self.members, rule.uses.members)):
            for each in texts:
                if each.found.whole and each.found.path[0] in heads:
                    path = (*heads[each.found.path[0]], *each.found.path[1:])
                    known.add(Place(module.file, each.found.line, path, full, each.text, rule.line))
        given = sum(self._hands_on(module, call, heads) for call in rule.uses.calls)
        return given == sum(self._whole(module, full, found, heads) for found in rule.uses.references)

    def _whole(self, module: Module, rule: Path, found: Reference, heads: Mapping[str, Path]) -> bool:
        """Whether this reads all of the input; otherwise its path is noted."""
        if not found.path or found.path[0] not in heads:
            return False
        path = (*heads[found.path[0]], *found.path[1:])
        if path:
            self.found.add(self._read(module, path, found))
            self.places.add(Place(module.file, found.line, path, rule))
        return not path

    def _read(self, module: Module, path: Path, found: Reference) -> Read:
        if found.kind and not any(name in self.own for name in KIND_ASKING):
            return Read(path, kind=True)
        aliases = {each.alias: each.path for each in module.imports}
        by = (*aliases.get(found.by[0], found.by[:1]), *found.by[1:]) if found.by else ()
        return Read(path, by) if self.settled and len(by) > len(SETTINGS) and by[: len(SETTINGS)] == SETTINGS else Read(path)

    def _hands_on(self, module: Module, call: Call, heads: Mapping[str, Path]) -> int:
        """How many of the arguments are the whole input, in a call of which it is known what it reads of it."""
        whole = [place for place, each in enumerate(call.given) if each is not None and each.whole and self._is_input(each, heads)]
        targets = list(self._functions(module, call)) if whole else []
        if targets:
            self.handed.update((path, place) for path in targets for place in whole)
            return len(whole)
        if call.name == ("object", "get") and whole == [0] and call.keys:  # the builtin, since nobody has a function of that name
            self.found.add(Read(call.keys))
            return 1
        return 0

    def _is_input(self, found: Reference, heads: Mapping[str, Path]) -> bool:
        return len(found.path) == 1 and heads.get(found.path[0]) == ()

    def _functions(self, module: Module, call: Call) -> Iterator[Path]:
        aliases = {each.alias: each.path for each in module.imports}
        first, rest = call.name[:1], call.name[1:]
        candidates = {(*module.package, *call.name), (*aliases.get(call.name[0], first), *rest)} if first else set()
        for other in self.modules:
            for rule in other.rules:
                full = (*other.package, *rule.path)
                if rule.kind == FUNCTION and full in candidates:
                    yield full


def _above(read: Read) -> Iterator[Path]:
    """Where something would have to be read whole for this to be part of it."""
    lengths = range(1, len(read.path) + (1 if read.by or read.kind else 0))
    return (read.path[:length] for length in lengths)
