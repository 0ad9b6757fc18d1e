"""Packages of rules that ship with Lockgate, and how a workspace's policies adopt them by name.

A package says what it has to say by sets: `deny`, `review`, `reroute` and `obligations`, and `deny_at_admission` before anything is
classified. They are joined by modules that are made here and asked as `data.lockgate.adopted.result`, beside the decision and the intent's
own package, and as `data.lockgate.adopted_admission.result`, beside admission: the strictest wins. What a package lifts of the others'
denials goes through the package `lockgate.exceptions`, which the decision has to ask for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import router
from router.bundle.content import TESTS, package_path
from router.errors import BundleError, ConfigError
from router.faults import suggestion
from router.library_joining import ADMITTING, FOLDER, JOINED, made_exceptions, made_modules, made_tests

EXCEPTIONS = "lockgate/exceptions"
OURS = ("lockgate/adopted", "lockgate/adopted_admission")
DOCS = "docs/policy-library.md"
IMPORT = re.compile(r"^import data\.([\w.]+)", re.MULTILINE)
CONTROL, LEARNING = "control", "learning"
BESIDE = (FOLDER, CONTROL, LEARNING)
SAYS = re.compile(r"^(deny|deny_at_admission|review|reroute|obligations|lifted|grants) contains\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Files:
    """Texts by the fixed paths that adopted packages have, whatever the workspace's own folders are called. `made` are those that nobody
    wrote."""

    policies: Mapping[str, str]
    tests: Mapping[str, str]
    made: frozenset[str] = frozenset()


def place() -> Path:
    """The policies that were installed with Lockgate, beside its packages."""
    return Path(router.__file__).parents[1] / "policies"


def is_shipped(folder: Path) -> bool:
    """Whether this is the library itself, or a policy of Lockgate's own, of the control API or of proposals: none is a part of the policies
    that it lies beside."""
    return folder.name in BESIDE and folder.is_dir() and (place() / folder.name).is_dir() and folder.samefile(place() / folder.name)


def packages() -> tuple[str, ...]:
    """By name, in the order of the alphabet."""
    return tuple(sorted(file.parent.name for file in (place() / FOLDER).glob("*/*.rego") if file.stem == file.parent.name))


def package_file(name: str) -> Path:
    return place() / FOLDER / name / f"{name}.rego"


def unknown(names: Iterable[str]) -> Iterator[str]:
    """A sentence for each name that the library does not have."""
    known = packages()
    for name in names:
        if name not in known:
            yield f"The library has no package '{name}'.{suggestion(name, known)} `lockgate policy library` lists them."


def adopt(own: Mapping[str, str], names: Iterable[str]) -> Files:
    """What is added to the policies `own`, texts by path: the packages `names`, what they import, and the modules that join them. What
    `own` has itself stands in for the library's. Only `lockgate.exceptions`, where a package lifts something, is replaced: under its own
    path. Raises ConfigError."""
    named = list(dict.fromkeys(names))
    faults = list(unknown(named))
    if faults:
        raise ConfigError(*faults)
    if not named:
        return Files({}, {})
    places = _places(own)
    for ours in OURS:
        if ours in places:
            name = ours.replace("/", ".")
            raise ConfigError(f"{places[ours]}:1: The package '{name}' is made of what 'policy.library' names; call it otherwise.")
    sources = _sources(own, places, named)
    added = {_fixed(file): _text(file) for file in sources.values()}
    if (taken := next((path for path in (*added, JOINED, ADMITTING) if path in own), None)) is not None:
        raise ConfigError(f"{taken}:1: A file that is adopted from the library would stand here; move this one.")
    texts = {name: own[places[package]] if (package := f"lockgate/library/{name}") in places else _text(sources[package]) for name in named}
    says = {name: set(SAYS.findall(text)) for name, text in texts.items()}
    lifting = [name for name in named if {"lifted", "grants"} & says[name]]
    made = made_modules(says, lifting)
    if lifting:
        made[_asked_exceptions(own, places, lifting[0])] = made_exceptions(lifting)
    return Files({**added, **made}, _tests(sources.values(), made), frozenset(made))


def _places(texts: Mapping[str, str]) -> dict[str, str]:
    """Paths by the package that stands there. What does not begin with one is refused by whoever compiles it."""
    found: dict[str, str] = {}
    for path, text in texts.items():
        try:
            found[package_path(path, text)] = path
        except BundleError:
            continue
    return found


def _shipped() -> dict[str, Path]:
    """Files by their package, those of the entry points left out: nothing imports them."""
    files = [file for part in ("lockgate/lib", "lockgate/rules", FOLDER) for file in (place() / part).rglob("*.rego")]
    return {package_path(str(file), _text(file)): file for file in files if not file.name.endswith(TESTS)}


def _sources(own: Mapping[str, str], places: Mapping[str, str], names: Iterable[str]) -> dict[str, Path]:
    """By package, the files of the packages and of what they import, directly or by others, as far as it is not there."""
    shipped, found, seen = _shipped(), dict[str, Path](), set[str]()
    ahead = [f"lockgate/library/{name}" for name in names]
    while ahead:
        package = ahead.pop()
        if package in seen or package not in shipped:
            continue
        seen.add(package)
        if package not in places:
            found[package] = shipped[package]
        text = own[places[package]] if package in places else _text(shipped[package])
        ahead += [each.replace(".", "/") for each in IMPORT.findall(text)]
    return found


def _fixed(file: Path) -> str:
    """`library/rbac/rbac.rego`, and `library/lib/violation.rego` for what packages import of the other policies."""
    return Path(FOLDER, *file.relative_to(place()).parts[1:]).as_posix()


def _tests(sources: Iterable[Path], made: Iterable[str]) -> dict[str, str]:
    """What lies beside the files, with what those tests decide on."""
    shared = [place() / part / f"fixtures{TESTS}" for part in (FOLDER, "lockgate/lib")]
    beside = [file.with_name(f"{file.stem}{TESTS}") for file in sources]
    return {_fixed(file): _text(file) for file in (*shared, *beside) if file.is_file()} | made_tests(made)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}:1: The library that belongs to Lockgate cannot be read; install Lockgate again.") from error


def _asked_exceptions(own: Mapping[str, str], places: Mapping[str, str], name: str) -> str:
    """The path of the module to replace, which the other policies must ask: otherwise nothing would ever be lifted."""
    path = places.get(EXCEPTIONS)
    if path is None or not any("data.lockgate.exceptions" in text for other, text in own.items() if other != path):
        raise ConfigError(
            f"The package '{name}' lifts denials, and these policies do not ask 'data.lockgate.exceptions' what is lifted; "
            f"{DOCS} says which lines decision.rego needs."
        )
    return path
