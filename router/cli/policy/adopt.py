"""`lockgate policy adopt`: a package of the library for this workspace, by a line of its configuration or as a copy."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import click

from router.cli.common import config_option, console, json_option, print_json
from router.durable import replace
from router.errors import ConfigError
from router.library import package_file, unknown
from router.library_reference import described
from router.policy_sources import policy_library, policy_paths
from router.snapshot import CONFIG_FILE
from router.yaml_source import read_yaml

LIBRARY = re.compile(r"^(?P<before> +library: *\[)(?P<names>[^\]\n#]*)(?P<after>\].*)$", re.MULTILINE)
POLICY = re.compile(r"^policy:[ \t]*(?:#.*)?$", re.MULTILINE)


@click.command()
@click.argument("name")
@config_option
@click.option("--copy", is_flag=True, help="Also copy the package into the workspace's policies, to change it there.")
@json_option
def adopt(name: str, config: Path, copy: bool, as_json: bool) -> None:
    """Adopt the package NAME of the library: the configuration's `policy.library` names it.

    With --copy its rules and tests are written to `lockgate/library/NAME` in the policies' folder, where they can be changed; nothing is
    overwritten. Its settings are then to be set in the policies' data; what to begin with is shown.
    """
    if faults := list(unknown([name])):
        raise ConfigError(*faults)
    file = config / CONFIG_FILE if config.is_dir() else config
    text = _text(file)
    document, _ = read_yaml(file.name, text.encode(), os.environ)
    settings = document.value if document is not None and isinstance(document.value, dict) else {}
    copied = _copied(file.parent / policy_paths(settings)[0], name) if copy else []
    changed = name not in policy_library(settings)
    if changed:
        _write(file, _with(text, name, settings))
    if as_json:
        print_json({"name": name, "config": str(file), "changed": changed, "copied": [str(each) for each in copied]})
        return
    for each in copied:
        click.echo(str(each))
    out = console(error=True)
    out.print(f"{file} adopts '{name}'." if changed else f"{file} adopts '{name}' already.", markup=False)
    out.print(f"Its settings are 'lockgate.config.{described(name).settings}' in the policies' data. To begin with:", markup=False)
    click.echo(described(name).example, nl=False)


def _with(text: str, name: str, settings: dict[str, object]) -> str:
    """The configuration with one name more, and nothing else of it changed. Raises ConfigError where no place for it is found."""
    if (found := LIBRARY.search(text)) is not None and policy_library(settings):
        names = ", ".join([*policy_library(settings), name])
        return f"{text[: found.start()]}{found['before']}{names}{found['after']}{text[found.end() :]}"
    if (block := POLICY.search(text)) is not None and "library" not in _below(settings):
        return f"{text[: block.end()]}\n  library: [{name}]{text[block.end() :]}"
    if "policy" not in settings:
        return f"{text.rstrip()}\n\npolicy:\n  library: [{name}]\n"
    raise ConfigError(f"The configuration is written in a way that this command does not change; add '{name}' to 'policy.library' by hand.")


def _below(settings: dict[str, object]) -> dict[str, object]:
    policy = settings.get("policy")
    return policy if isinstance(policy, dict) else {}


def _copied(policies: Path, name: str) -> list[Path]:
    """Raises ConfigError where something is there already."""
    source = package_file(name)
    target = policies / "lockgate" / "library" / name
    wanted = {target / each.name: each for each in sorted(source.parent.glob("*.rego"))}
    if there := [each for each in wanted if each.exists()]:
        raise ConfigError(*(f"{each}:1: The file is already there, and nothing is overwritten." for each in there))
    for path, each in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, each.read_text(encoding="utf-8"))
    return list(wanted)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}:1: The file cannot be read; `lockgate init` makes a workspace to start from.") from error


def _write(file: Path, text: str) -> None:
    try:
        mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else 0o644
        with replace(file) as opened:
            opened.write(text.encode())
        file.chmod(mode)
    except OSError as error:
        raise ConfigError(f"{file}:1: The file cannot be written: {error.strerror}.") from error
