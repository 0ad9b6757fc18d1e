from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adapters.sqlite.api_keys import SqliteApiKeys
from router.cli.keys import keys
from router.identity import api_keys
from router.system import SystemClock


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(keys, [str(argument) for argument in arguments])


def test_a_key_made_on_the_command_line_works(state: Path) -> None:
    """Standard output is the key alone, so that a script can take it; it verifies against the file."""
    result = run("create", "--state", state, "--subject", "olga", "--role", "admin", "--scope", "control", "--expires", "30d")
    assert result.exit_code == 0, result.output
    store = SqliteApiKeys(state / "identity.sqlite", SystemClock())
    store.open()
    key = api_keys.verify(store, result.stdout.strip().encode(), time.time_ns())
    store.close()
    assert (key.subject.id, key.subject.roles, key.scopes) == ("olga", ("admin",), frozenset({"control"}))
    assert key.expires_ns is not None
    assert key.created_by.startswith("cli:")


def test_the_directory_and_the_file_are_private(state: Path) -> None:
    """Root of trust: nobody else may read or write."""
    run("create", "--state", state, "--subject", "olga")
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "identity.sqlite").stat().st_mode) == 0o600


def test_a_revoked_key_is_listed_as_such(state: Path) -> None:
    """List, revoke, list."""
    made = json.loads(run("create", "--state", state, "--subject", "olga", "--json").stdout)
    assert "good" in run("list", "--state", state).output
    assert run("revoke", "--state", state, made["id"]).exit_code == 0
    listed = run("list", "--state", state)
    assert "revoked" in listed.output
    assert made["key"][13:] not in listed.output
    assert json.loads(run("list", "--state", state, "--json").stdout)[0]["revoked"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["create", "--subject", "olga", "--expires", "soon"], "must be a duration"),
        (["create", "--subject", "olga", "--scope", "everything"], "not everything"),
        (["create", "--subject", "olga", "--scope", "control"], "needs one of the roles"),
        (["create"], "--subject"),
        (["list"], "there is no folder"),
        (["revoke", "abcdefgh"], "there is no folder"),
    ],
)
def test_mistakes_get_one_sentence(state: Path, arguments: list[str], sentence: str) -> None:
    """What is wrong and what to do; no traceback, and no file made by looking."""
    result = run(*arguments, "--state", state)
    assert result.exit_code != 0
    assert sentence in result.output
    assert "Traceback" not in result.output
    assert arguments[0] == "create" or not state.exists()


@pytest.mark.parametrize("named", [True, False])
def test_where_nobody_made_a_key_yet_there_is_none(named: bool, state: Path, tmp_path: Path) -> None:
    """That is an answer and no failure; standard error says where it looked and what to do, and no file is made by looking."""
    (tmp_path / "lockgate.yaml").write_text("version: 1\n", encoding="utf-8")
    if named:
        state.mkdir(mode=0o700)
    where = ("--state", state) if named else ("--config", tmp_path)
    listed = run("list", *where)
    assert (listed.exit_code, listed.stdout) == (0, "There is none.\n")
    assert f"there is no key store {state / 'identity.sqlite'}: `lockgate keys create` makes it with the first key" in listed.stderr
    as_json = run("list", *where, "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout)) == (0, [])
    revoked = run("revoke", *where, "abcdefgh")
    assert (revoked.exit_code, "there is no key store" in revoked.output) == (1, True)
    assert not (state / "identity.sqlite").exists()


def test_a_place_that_cannot_be_looked_into_is_told(tmp_path: Path) -> None:
    """Such as another user's; keys that nobody sees are not none."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "identity.sqlite").symlink_to(state / "identity.sqlite")
    result = run("list", "--state", state)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "There is none" not in result.output


def test_an_unknown_key_cannot_be_revoked(state: Path) -> None:
    """A wrong id is told, not ignored."""
    run("create", "--state", state, "--subject", "olga")
    assert "there is no key nosuchid" in run("revoke", "--state", state, "nosuchid").output


def test_an_open_directory_is_refused(state: Path) -> None:
    """A state directory that everybody can write gets a sentence with the remedy."""
    state.mkdir()
    state.chmod(0o777)
    assert "chmod o-w" in run("create", "--state", state, "--subject", "olga").output


@pytest.mark.parametrize(
    ("written", "where"), [("version: 1\n", "state"), ("state: kept\n", "kept"), ("state: ${KEPT:-by/default}\n", "by/default")]
)
def test_without_a_directory_the_configuration_says_where(
    written: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative to its file, wherever the command is run, and also where nothing else of it could be used: it has no catalog."""
    folder, elsewhere = tmp_path / "workspace", tmp_path / "elsewhere"
    for each in (folder, elsewhere):
        each.mkdir()
    (folder / "lockgate.yaml").write_text(written, encoding="utf-8")
    monkeypatch.chdir(elsewhere)
    for named in (folder, folder / "lockgate.yaml"):
        assert run("create", "--config", named, "--subject", "olga").exit_code == 0
    assert (folder / where / "identity.sqlite").exists()
    assert list(elsewhere.iterdir()) == []
    assert run("list", "--config", folder / "lockgate.yaml").output.count("olga") == 4


@pytest.mark.parametrize(
    "written",
    ["state: kept\nnodes: {}\n  audit: [\n", "- 1\n", "state: ${NOBODY_SET_THIS}\n", "state:\n"],
    ids=["broken", "a list", "unset", "null"],
)
@pytest.mark.parametrize("command", [("create", "--subject", "olga"), ("revoke", "aaaaaaaa"), ("list",)], ids=" ".join)
def test_no_key_is_looked_for_elsewhere_where_the_configuration_does_not_say(
    command: tuple[str, ...], written: str, tmp_path: Path
) -> None:
    """A key that is revoked in another store goes on opening this one."""
    (tmp_path / "lockgate.yaml").write_text(written, encoding="utf-8")
    other = tmp_path / "state"
    assert run("create", "--state", other, "--subject", "otto").exit_code == 0
    found = run(*command, "--config", tmp_path / "lockgate.yaml")
    assert (found.exit_code, "name the folder with --state" in found.output) == (1, True)
    assert "otto" not in found.output
    assert [each.name for each in tmp_path.iterdir() if each.is_dir()] == ["state"]
