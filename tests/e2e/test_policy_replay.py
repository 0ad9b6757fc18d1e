"""What a running Lockgate decided, put to its policies again, and to others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.e2e.running import Lockgate, cli, company

REQUESTS = 6


@pytest.fixture(scope="module")
def lockgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    """Allowed, held, refused at admission, and without an intent; an adopted package has its say in each."""
    with company(tmp_path_factory.mktemp("replayed"), policy={"library": ["tenant_isolation"]}) as running:
        for _ in range(REQUESTS):
            assert running.ask("ann", "GET", "/echo").status in (200, 403, 404)
            running.ask("bob", "GET", "/items/1")
        running.ask("ann", "POST", "/pay/1", {"amount": 5})
        running.ask("eve", "GET", "/items/1")
        running.ask("ann", "OPTIONS", "/items/1")
        yield running


def replayed(lockgate: Lockgate, *more: str) -> tuple[int, Any]:
    done = cli("policy", "replay", "--config", str(lockgate.yard.config), "--json", *more)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_the_same_policies_say_the_same_of_everything(lockgate: Lockgate) -> None:
    """Every decision that policy was asked about, to the last reason."""
    status, found = replayed(lockgate)
    assert (status, found["differences"], found["not_reproduced"]) == (0, [], [])
    assert found["compared"] >= 2 * REQUESTS + 3, found
    assert lockgate.verify().returncode == 0


def test_other_policies_show_whose_requests_flip(lockgate: Lockgate, tmp_path: Path) -> None:
    """With nobody granted anything, what was allowed is denied, and nothing else changes."""
    data = tmp_path / "data.yaml"
    data.write_text("lockgate: {config: {}}\n")
    allowed = [leaf for leaf in lockgate.leaves() if leaf["schema"] == "lockgate.decision.v1" and leaf["verdict"]["effect"] == "allow"]
    status, found = replayed(lockgate, "--data", str(data))
    flips = [each for each in found["differences"] if each["before"]["effect"] == "allow"]
    assert (status, len(flips), found["not_reproduced"]) == (0, len(allowed), [])
    assert len(allowed) >= 1
    assert {each["after"]["effect"] for each in flips} == {"deny"}


def test_who_flips_is_told_by_intent_subject_tenant_and_rule(lockgate: Lockgate, tmp_path: Path) -> None:
    """People stand there as the ids of their keys unless their names are asked for."""
    data = tmp_path / "data.yaml"
    data.write_text("lockgate: {config: {}}\n")
    _, found = replayed(lockgate, "--data", str(data))
    for group in ("intent", "subject", "tenant"):
        assert sum(sum(counts.values()) for counts in found["by"][group].values()) == found["flips"] > 0, found["by"]
    assert {code for code in found["by"]["rule"] if code.startswith("-")} >= {"-rbac.granted"}
    anew = [code for code in found["by"]["rule"] if code.startswith("+")]
    assert anew
    assert all(any(".rego:" in place for place in found["rules"][code]) for code in anew), found["rules"]
    assert "ann" not in found["by"]["subject"]
    _, named = replayed(lockgate, "--data", str(data), "--names")
    assert named["by"]["subject"].keys() <= {"ann", "bob", "eve"}
    assert sorted(map(str, named["by"]["subject"].values())) == sorted(map(str, found["by"]["subject"].values()))


def test_a_signed_report_holds_for_these_policies_and_this_ledger_only(lockgate: Lockgate, tmp_path: Path) -> None:
    """And for whoever has the signer's public key; nothing else is needed to check it."""
    key, public = tmp_path / "author.pem", tmp_path / "author.pub"
    made = Ed25519PrivateKey.generate()
    key.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    data, report = tmp_path / "data.yaml", tmp_path / "report.json"
    data.write_text("lockgate: {config: {}}\n")
    _, found = replayed(lockgate, "--data", str(data), "--report", str(report), "--sign-with", str(key))

    ledger_key = json.loads(cli("audit", "verify", "--state", str(lockgate.state), "--json").stdout)["public_key"]
    policies = str(lockgate.yard.config.parent / "policies")
    done = cli("policy", "check-report", str(report), "--key", str(public), "--ledger-key", ledger_key, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"], told["flips"], told["by"]) == (0, True, found["flips"], found["by"])
    other = cli("policy", "check-report", str(report), "--key", str(public), "--policies", policies, "--json")
    assert other.returncode == 1
    assert "is about policies" in json.loads(other.stdout)["message"]

    stranger = tmp_path / "stranger.pub"
    stranger.write_bytes(Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert cli("policy", "check-report", str(report), "--key", str(stranger)).returncode == 1
    again = cli("policy", "replay", "--config", str(lockgate.yard.config), "--report", str(report), "--sign-with", str(key))
    assert "replaces nothing" in again.stderr


def test_a_replay_is_a_reading_and_opens_personal_fields(lockgate: Lockgate) -> None:
    """Which is noted before anything is opened."""
    replayed(lockgate, "--subject", "ann")
    notes = [json.loads(path.read_bytes()) for path in (lockgate.state / "readings").glob("*.json")]
    told = [*notes, *lockgate.system("audit_read")]
    assert any(each["what"] == "replay" and each["opened"] for each in told)


def test_who_was_erased_leaves_the_count(lockgate: Lockgate) -> None:
    """And is counted as erased."""
    where = (
        "--url",
        f"http://127.0.0.1:{lockgate.ports['control']}",
        "--key",
        lockgate.keys["root"],
        "--config",
        str(lockgate.yard.config),
    )
    erased = cli("audit", "erase", "--subject", "bob", "--authority", "Olga", "--reason", "gdpr_art_17", "--case", "1", "-y", *where)
    assert erased.returncode == 0, erased.stderr
    status, found = replayed(lockgate)
    assert (status, found["differences"]) == (0, [])
    assert found["left_out"]["erased"] == REQUESTS
