"""The command reference, and every command that a page shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from router.cli.command_reference import Described, commands
from router.cli.main import lockgate
from router.cli.schema import reference_files
from tests.unit.docs.pages import ROOT, everything

EVERY = {described.name: described for described in commands(lockgate, "lockgate")}
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)  # of any language, for the end of one is the beginning of none
SHELLS = frozenset({"", "sh", "bash", "shell", "console", "text", "ini"})
INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
INLINE = re.compile(r"`(lockgate [a-z][^`]*)`")
NOT_HERE = re.compile(r"does not exist|No such file")
ENDS = {"…", "|", "||", "&&", ";", ">", ">>", "&", "2>&1", "<"}


def shown(text: str) -> Iterator[list[str]]:
    """The words of each call of Lockgate in a page's code, on a line of its own or in a sentence, up to where the shell goes on."""
    for call in INLINE.findall(FENCED.sub("", text)):
        yield until_the_shell(" ".join(call.split()))
    fenced = [block for language, block in FENCED.findall(text) if language in SHELLS]
    for block in [*fenced, *INDENTED.findall(FENCED.sub("", text))]:
        for line in block.replace("\\\n", " ").splitlines():
            called = re.match(r"\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(lockgate .*)", line)
            if called:
                yield until_the_shell(called[1])


def until_the_shell(line: str) -> list[str]:
    """An option in brackets may be left out, and is looked at."""
    words = shlex.split(re.sub(r"\[(--[^\]]*)\]", r"\1", line), comments=True)
    return words[: next((at for at, word in enumerate(words) if word in ENDS), len(words))]


def unknown(words: list[str]) -> list[str]:
    """Which of a call's commands and options there are not; `a|b` is either."""
    called, at = EVERY["lockgate"], 1
    while isinstance(called.command, click.Group) and at < len(words) and not words[at].startswith("-"):
        names = [f"{called.name} {word}" for word in words[at].split("|")]
        if missing := [name for name in names if name not in EVERY]:
            return missing
        called, at = EVERY[names[-1]], at + 1
    return [word for word in words[at:] if word.startswith("-") and word.partition("=")[0] not in options(called)]


def refusal(words: list[str]) -> str:
    """What a command says of its arguments, before it does anything; nothing of a call that a page cuts short, nor of files that are not
    here. Of `a|b` the first is looked at."""
    group: click.Command = lockgate
    called, at = click.Context(lockgate, info_name="lockgate"), 1
    while at < len(words) and (found := EVERY.get(f"{called.command_path} {words[at].split('|')[0]}")) is not None:
        group, called, at = found.command, click.Context(found.command, info_name=words[at].split("|")[0], parent=called), at + 1
    if isinstance(group, click.Group):
        return ""
    try:
        group.make_context(called.info_name, [word.split("|")[0] for word in words[at:]], parent=called.parent)
    except (click.MissingParameter, click.BadOptionUsage, click.exceptions.Exit):
        return ""
    except click.UsageError as error:
        return "" if NOT_HERE.search(error.format_message()) else error.format_message()
    return ""


def options(described: Described) -> set[str]:
    found = {name for each in described.command.params if isinstance(each, click.Option) for name in [*each.opts, *each.secondary_opts]}
    return found | {"-h", "--help", "--version", "-"}


@pytest.mark.parametrize("described", EVERY.values(), ids=EVERY)
def test_every_command_and_option_says_what_it_does(described: Described) -> None:
    """Nobody has to guess, here or with --help."""
    assert described.command.help
    wordless = [each.opts for each in described.command.params if isinstance(each, click.Option) and not each.help]
    assert wordless == []


def test_every_command_has_a_heading_and_every_option_a_row() -> None:
    """What is not on the page is not there."""
    text = reference_files()["commands.md"]
    for name, described in EVERY.items():
        if name == "lockgate":
            continue
        _, _, section = text.partition(f"# `{name}`\n")
        section = section.partition("\n#")[0]
        assert section, name
        long = [each.opts[-1] for each in described.command.params if isinstance(each, click.Option)]
        assert [each for each in long if each not in section] == [], name


WRITTEN = [file for file in everything() if file.name != "commands.md"]
CALLS = sorted({(str(file.relative_to(ROOT)), *words) for file in WRITTEN for words in shown(file.read_text(encoding="utf-8"))})


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call[0]}: {' '.join(call[1:])}"[:100])
def test_what_pages_call_is_there(call: tuple[str, ...]) -> None:
    """A command that somebody copies from a page is one of ours, with options that it has."""
    assert unknown(list(call[1:])) == []


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call[0]}: {' '.join(call[1:])}"[:100])
def test_what_pages_call_takes_what_it_is_given(call: tuple[str, ...]) -> None:
    """As many arguments as it has, choices that there are, conditions that are some."""
    assert refusal(list(call[1:])) == ""


def test_what_is_not_taken_is_noticed() -> None:
    """An argument too many, another choice, a condition in the wrong quotes."""
    assert "unexpected extra argument (serve)" in refusal(["lockgate", "witness", "serve"])
    assert "is not one of" in refusal(["lockgate", "audit", "query", "--verdict", "alow"])
    assert "belongs to no condition" in refusal(["lockgate", "audit", "query", "--where", 'why = "canary"'])
    assert refusal(["lockgate", "audit", "query", "--where", "why = 'canary'"]) == ""
    assert refusal(["lockgate", "review", "approve|reject", "ID"]) == refusal(["lockgate", "review", "show"]) == ""


def test_what_is_not_there_is_noticed() -> None:
    """The check tells a slip of the pen from a command."""
    assert len(CALLS) > 100
    assert unknown(["lockgate", "audit", "verfy"]) == ["lockgate audit verfy"]
    assert unknown(["lockgate", "audit", "verify", "--jsn"]) == ["--jsn"]
    assert unknown(until_the_shell("lockgate audit verify --json | jq --raw-output .")) == []
