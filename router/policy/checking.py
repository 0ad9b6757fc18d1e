"""Everything that can be said against a folder of policies without asking it anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adapters.rego.check import check_apart, misjudged
from adapters.rego.duties import duty_faults
from adapters.rego.embedded import compile_all, load, trees
from adapters.rego.input_paths import input_faults, too_early
from adapters.rego.syntax import Module, Rule
from router.errors import ConfigError
from router.faults import Fault
from router.library_settings import faults_of
from router.policy.folder import PolicyFolder, input_schema
from router.policy.unasked import unasked
from router.policy.unread import unread
from router.policy_sources import TEST_SUFFIX


@dataclass(frozen=True, slots=True)
class Checked:
    """`faults` keep the policies from being used as they are meant; `warnings` do not. Both by file and line."""

    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]


def check_folder(folder: PolicyFolder, *, complete: bool = True) -> Checked:
    """`complete`: the entry points must be there; every rule is asked by something, and all data read."""
    try:
        modules, tests = compile_all(folder.policies, folder.tests)
    except ConfigError as error:
        return Checked(tuple(map(parted, error.faults)), ())
    schema = input_schema()
    settings = faults_of(folder.policies, folder.data, folder.documents, folder.data_file)
    faults = [*_load_faults(folder, modules, complete), *input_faults(modules, schema), *duty_faults(trees(folder.policies)), *settings]
    unable = {fault for found in misjudged(modules, tests).values() for fault in found}
    alone = [*unasked(modules), *unread(folder, modules)] if complete else []
    warnings = [*too_early(modules, schema), *_unused_imports([*modules, *tests]), *_untested(folder), *map(parted, unable), *alone]
    known = set(faults)
    return Checked(tuple(sorted(known)), tuple(sorted(set(warnings) - known)))


def parted(fault: str) -> Fault:
    """A `file:line: sentence` as its parts."""
    place, _, sentence = fault.partition(": ")
    file, _, line = place.rpartition(":")
    return Fault(file, int(line), sentence) if line.isdigit() else Fault("", 0, fault)


def _load_faults(folder: PolicyFolder, modules: list[Module], complete: bool) -> Iterator[Fault]:
    try:
        if complete:
            load(folder.policies, folder.data)
        else:
            yield from map(parted, check_apart(modules))
    except ConfigError as error:
        yield from (_placed(parted(each), folder) for each in error.faults)


def _placed(fault: Fault, folder: PolicyFolder) -> Fault:
    """The engine knows data and policies by no other names than these."""
    names = {"data.yaml": folder.data_file, "policies": str(folder.path)}
    return Fault(names.get(fault.file, fault.file), fault.line, fault.sentence)


def _unused_imports(modules: list[Module]) -> Iterator[Fault]:
    for module in modules:
        used = {path[0] for rule in module.rules for path in _used(rule) if path}
        for each in module.imports:
            if each.path[0] in ("data", "input") and each.alias not in used:
                yield Fault(module.file, each.line, f"Nothing uses the import '{each.alias}'.")


def _used(rule: Rule) -> Iterator[tuple[str, ...]]:
    uses = rule.uses
    yield from (call.name for call in uses.calls)
    yield from (found.path for found in (*uses.references, *uses.replaced))


def _untested(folder: PolicyFolder) -> Iterator[Fault]:
    """As the shipped rules have it: the test lies beside its rule."""
    for path in folder.policies:
        if path.removesuffix(".rego") + TEST_SUFFIX not in folder.tests and not _library(path):
            yield Fault(path, 1, f"There is no test beside it; tests are in '{path.removesuffix('.rego')}{TEST_SUFFIX}'.")


def _library(path: str) -> bool:
    """Helpers are tested by the rules that use them."""
    return "/lib/" in path
