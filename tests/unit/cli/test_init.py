from __future__ import annotations

import importlib.util
import re
import stat
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adapters.sqlite.api_keys import SqliteApiKeys
from router.catalog import utterances
from router.cli.check import checked
from router.cli.main import run
from router.identity.api_keys import verify
from router.system import SystemClock
from router.workspace import read

COMMENTED = re.compile(r"^(\s*)# (\s*- \{|[a-z_]+:)(.*)$")


@pytest.fixture
def made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    folder = tmp_path / "demo"
    assert run(["init", str(folder)]) == 0
    return folder, capsys.readouterr().out.strip()


def test_a_starter_workspace_is_in_order(made: tuple[Path, str]) -> None:
    """What init writes has no fault, policies included."""
    workspace = checked(read(made[0], {}))
    assert len(workspace.catalog.intents) == 6
    assert workspace.policies


def test_the_starter_has_enough_different_utterances(made: tuple[Path, str]) -> None:
    """Twenty for each intent, none of them twice."""
    for file in (made[0] / "utterances").iterdir():
        texts = [text.casefold() for _, text in utterances(file.read_text())]
        assert len(texts) >= 20, file.name
        assert len(texts) == len(set(texts)), file.name


def test_the_first_key_opens_the_gateway(made: tuple[Path, str]) -> None:
    """The key on standard output is the only thing there, and is good for gateway and decide."""
    folder, plain = made
    clock = SystemClock()
    store = SqliteApiKeys(folder / "state" / "identity.sqlite", clock)
    store.open()
    key = verify(store, plain.encode(), clock.now_ns())
    store.close()
    assert key.scopes == {"gateway", "decide"}
    assert key.subject.roles == ("employee",)


def test_keys_are_for_their_owner_alone(made: tuple[Path, str]) -> None:
    """Ledger key, sealing key and key store have mode 0600."""
    state = made[0] / "state"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.rglob("*") if path.is_file()}
    assert modes == {"ledger.key": 0o600, "sealing.key": 0o600, "identity.sqlite": 0o600}


def test_state_stays_out_of_version_control(made: tuple[Path, str]) -> None:
    """The state directory is in .gitignore."""
    assert "/state/" in (made[0] / ".gitignore").read_text().splitlines()


def test_nothing_is_overwritten(made: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    """A second init names what is in the way and changes nothing."""
    folder, _ = made
    (folder / "lockgate.yaml").write_text("version: 1\n")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run(["init", str(folder)]) == 2
    assert f"{folder}/lockgate.yaml:1: The file is already there, and init overwrites nothing." in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file where the folder should be is no traceback."""
    (tmp_path / "file").write_text("")
    assert run(["init", str(tmp_path / "file" / "demo")]) == 2
    assert "The file cannot be written: Not a directory." in capsys.readouterr().err


def test_what_is_commented_out_would_be_valid(made: tuple[Path, str]) -> None:
    """Taking the comment signs away from the configuration's settings leaves it in order."""
    folder, _ = made
    config = folder / "lockgate.yaml"
    lines = [COMMENTED.sub(r"\1\2\3", line) for line in config.read_text().splitlines()]
    assert sum(line != old for line, old in zip(lines, config.read_text().splitlines(), strict=True)) > 8
    config.write_text("\n".join(lines) + "\n")
    workspace = checked(read(folder, {}))
    assert workspace.config.identity.jwt[0].issuer == "https://id.example"


def test_the_service_answers(made: tuple[Path, str]) -> None:
    """The service that comes along knows its rooms, its bookings, and who asked for what."""
    service: Any = _module(made[0] / "service.py")
    assert service.respond("GET", "/rooms", {}, b"")[0] == 200
    assert service.respond("DELETE", "/bookings/4711", {}, b"")[1]["room"] == "blue"
    assert service.respond("GET", "/bookings/4711", {}, b"")[0] == 404
    answer = service.respond("POST", "/ask", {b"x-lockgate-intent": b"book_room", b"x-lockgate-subject": b"ann"}, b"hello")
    assert answer == (200, {"intent": "book_room", "subject": "ann", "you_said": "hello"})


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("starter_service", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
