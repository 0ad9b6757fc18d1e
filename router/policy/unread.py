"""Data that no policy reads: a slip of the pen in a key's name leaves a quota or a masking without effect, which nothing else would say."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from adapters.rego.reads import SETTINGS
from adapters.rego.syntax import Module, Path
from router.faults import Fault, suggestion
from router.policy.folder import PolicyFolder


def unread(folder: PolicyFolder, modules: Sequence[Module]) -> Iterator[Fault]:
    """The uppermost keys below `lockgate.config` that are named nowhere. A name counts as far as it is written out, and all below it."""
    named = {path[len(SETTINGS) :] for module in modules for path in _settings(module)}
    for path, sentence in _below(folder.value(SETTINGS[1:]), (), named):
        yield folder.data_fault((*SETTINGS[1:], *path), sentence)


def _below(value: Any, path: Path, named: Collection[Path]) -> Iterator[tuple[Path, str]]:
    if not isinstance(value, Mapping) or any(path[: len(each)] == each for each in named):
        return
    known = {each[len(path)] for each in named if each[: len(path)] == path}
    for name, below in value.items():
        if name in known:
            yield from _below(below, (*path, name), named)
        else:
            whole = ".".join((*SETTINGS[1:], *path, name))
            yield (*path, name), f"No policy reads '{whole}', so it has no effect.{suggestion(name, sorted(known))}"


def _settings(module: Module) -> Iterator[Path]:
    """Everything of the settings that a module names, also to look something up by it."""
    aliases = {each.alias: each.path for each in module.imports}
    yield from (each.path for each in module.imports if each.path[: len(SETTINGS)] == SETTINGS and len(each.path) > len(SETTINGS))
    for rule in module.rules:
        for found in (*rule.uses.references, *rule.uses.replaced):
            for path in (found.path, found.by):
                whole = (*aliases.get(path[0], path[:1]), *path[1:]) if path else ()
                if whole[: len(SETTINGS)] == SETTINGS:
                    yield whole
