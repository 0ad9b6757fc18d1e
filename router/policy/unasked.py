"""Rules that nobody asks: they load, pass their tests, and decide nothing, which their author finds out when it is too late."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapters.rego.syntax import FUNCTION, Module, Path
from router.faults import Fault

RULES: Path = ("data", "lockgate", "rules")  # what an entry point has to name; all other packages are asked by their names, or help


def unasked(modules: Sequence[Module]) -> Iterator[Fault]:
    """Rules below `RULES` that no policy names, each once. A name counts as far as it is written out, and the rule's own does not."""
    named = [(place, path) for module in modules for place, path in _named(module)]
    told: set[Path] = set()
    for module in modules:
        for rule in module.rules:
            whole = (*module.package, *rule.path[:1])
            if module.package[: len(RULES)] != RULES or rule.kind == FUNCTION or whole in told:
                continue
            told.add(whole)
            if not any(_meet(path, whole) for place, path in named if place != whole):
                sentence = (
                    f"Nothing asks '{'.'.join(whole)}', so it decides nothing; name it in decision.rego, or where else it is to count."
                )
                yield Fault(module.file, rule.line, sentence)


def _named(module: Module) -> Iterator[tuple[Path, Path]]:
    """By which rule, and what. A name without `data` before it is an import's, or may be one of the package's own."""
    aliases = {each.alias: each.path for each in module.imports}
    for rule in module.rules:
        place = (*module.package, *rule.path[:1])
        for path in (*(call.name for call in rule.uses.calls), *(found.path for found in rule.uses.references)):
            if path:
                yield place, (*aliases.get(path[0], (*module.package, path[0]) if path[0] != "data" else ("data",)), *path[1:])


def _meet(path: Path, whole: Path) -> bool:
    """A name of the rule, of a part of it, or of what it is a part of."""
    shorter = min(len(path), len(whole))
    return path[:shorter] == whole[:shorter]
