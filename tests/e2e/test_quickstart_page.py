"""The quickstart page is true: its commands are run in order in a fresh folder, and print what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from examples.halden.demo.company import free_ports
from tests.e2e.processes import ROOT, Process, inherited, until
from tests.e2e.running import listens

PAGE = ROOT / "docs" / "quickstart.md"
FENCE = re.compile(r"(?:^<!-- test: (?P<mark>[a-z ]+) -->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SPACE = re.compile(r"\s+")
PORTS = (8080, 8081, 8082)


@dataclass(slots=True)
class Block:
    """`mark` says what becomes of it: skip, start NAME, stop NAME before it; `expected` are the lines of the text block behind it."""

    command: str
    mark: str = ""
    expected: list[str] = field(default_factory=list)


def blocks(page: str) -> list[Block]:
    found: list[Block] = []
    for fence in FENCE.finditer(page):
        if fence["kind"] == "sh":
            found.append(Block(fence["text"], fence["mark"] or ""))
        else:
            found[-1].expected = [line for line in fence["text"].splitlines() if line.strip()]
    return found


def missing(expected: list[str], printed: str) -> Iterator[str]:
    """Lines that do not come, in this order. `…` stands for anything, and any white space for any other."""
    rest = SPACE.sub(" ", printed)
    for line in expected:
        pieces = SPACE.sub(" ", line.strip()).split("…")
        hit = re.search(".*?".join(re.escape(piece.strip()) for piece in pieces), rest)
        if hit is None:
            yield line
        else:
            rest = rest[hit.end() :]


@dataclass(slots=True)
class Reader:
    """Somebody who follows the page, with a terminal whose folder and exported variables stay."""

    home: Path
    ports: Mapping[int, int]
    environment: Mapping[str, str]
    others: dict[str, Process] = field(default_factory=dict)

    def follow(self, block: Block) -> str:
        action, _, name = block.mark.partition(" ")
        if action == "start":
            self.others[name] = Process(
                ["bash", "-c", "exec " + self.moved(block.command)], self.home / f"{name}.log", self.environment, self.home / "rooms"
            )
            self.others[name].start()
            return ""
        if action == "stop":
            self.others[name].stop()
        return self.run(self.moved(block.command))

    def run(self, command: str) -> str:
        kept = self.home / "terminal.sh"
        before = f". {kept}\n" if kept.exists() else ""
        after = f"\n{{ export -p; echo \"cd '$PWD'\"; }} > {kept}\n"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", before + command + after],
            cwd=self.home,
            env=inherited(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if "|| echo" in command else None,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}\nended with {done.returncode} and printed:\n{done.stdout}"
        return done.stdout

    def moved(self, command: str) -> str:
        for before, after in self.ports.items():
            command = command.replace(f"127.0.0.1:{before}", f"127.0.0.1:{after}")
        return command

    def move_the_workspace(self) -> None:
        """To ports that are free here."""
        config = self.home / "rooms" / "lockgate.yaml"
        config.write_text(self.moved(config.read_text()))

    def end(self) -> None:
        for process in self.others.values():
            process.kill()


def test_every_command_of_the_quickstart_does_what_the_page_says(tmp_path: Path) -> None:
    """A newcomer who types what the page says sees what the page shows."""
    *ports, rooms = free_ports(4)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": path, "COLUMNS": "200", "ROOMS_PORT": str(rooms), "ROOMS_URL": f"http://127.0.0.1:{rooms}"}
    reader = Reader(tmp_path, dict(zip(PORTS, ports, strict=True)), environment)
    try:
        for block in blocks(PAGE.read_text(encoding="utf-8")):
            if block.mark == "skip":
                continue
            printed = reader.follow(block)
            assert list(missing(block.expected, printed)) == [], f"{block.command}\nprinted:\n{printed}"
            if "lockgate init" in block.command:
                reader.move_the_workspace()
            if block.mark.startswith("start"):
                port = rooms if block.mark == "start service" else ports[1]
                until(lambda port=port: listens(port), f"{block.mark} did; it said {reader.others[block.mark[6:]].said}", 60)  # type: ignore[misc]
    finally:
        reader.end()


def test_only_the_installation_is_not_run() -> None:
    """The page's blocks are run, but for the one that makes the environment that this suite already runs in."""
    skipped = [block.command for block in blocks(PAGE.read_text(encoding="utf-8")) if block.mark == "skip"]
    assert skipped == ["make model\n. .venv/bin/activate\n"]


def test_a_line_that_is_not_printed_is_noticed() -> None:
    """The comparison can fail: on another word, on another order, and not on other white space."""
    assert list(missing(["a … c"], "a b\n  c\n")) == []
    assert list(missing(["a … d"], "a b c")) == ["a … d"]
    assert list(missing(["b", "a"], "a b")) == ["a"]
