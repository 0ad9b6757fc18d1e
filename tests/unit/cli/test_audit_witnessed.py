from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.sqlite.ledger import SqliteStore
from router.audit.journal import Checkpointing, Journal
from router.audit.tree.checkpoint import NoteSigner, latest_published, split_note
from router.audit.witnesses.cosignature import LATEST
from router.cli.main import run
from tests.unit.audit.ledgers import SIGNER, entries, written
from tests.unit.audit.witnesses import START_S, cosigner

WITNESS = f"witness audit {cosigner().verifier}\n"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Forty records, under a checkpoint with one witness's cosignature."""
    note = written(tmp_path, entries(40))
    journal = Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER, tmp_path / "checkpoints"))
    journal.open()
    journal.keep_cosigned(note + cosigner().cosign(split_note(note)[0], START_S))
    journal.close()
    return tmp_path


def verify(state: Path, policy: str | None, *more: str) -> int:
    if policy is None:
        return run(["audit", "verify", "--state", str(state), *more])
    (state / "policy").write_text(policy)
    return run(["audit", "verify", "--state", str(state), "--policy", str(state / "policy"), *more])


def test_what_was_confirmed_is_said(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records, witnesses and time, in one line, and what that leaves open."""
    assert verify(state, f"{WITNESS}quorum audit\n") == 0
    said = capsys.readouterr().out
    assert "witnessed: the first 40 records, by audit, as of 2023-11-14T22:13:20Z\n" in said
    assert "Witnesses confirmed the first 40 records." in said


def test_a_time_at_the_end_of_all_times_is_shown(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is accepted can also be printed."""
    note = latest_published(state / "checkpoints") or ""
    journal = Journal(SqliteStore(state / "ledger.sqlite"), Checkpointing(SIGNER, state / "checkpoints"))
    journal.open()
    journal.keep_cosigned(note + cosigner().cosign(split_note(note)[0], LATEST))
    journal.close()
    assert verify(state, f"{WITNESS}quorum audit\n") == 0
    assert "as of 9999-12-31T23:59:59Z" in capsys.readouterr().out


def test_without_a_policy_it_is_said_that_nobody_looked(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The status is that of the rest."""
    assert verify(state, None) == 0
    assert "Cosignatures were not checked, for no witness policy was given." in capsys.readouterr().out


def test_a_quorum_that_is_missing_ends_with_one(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two are wanted, one is there."""
    assert verify(state, f"{WITNESS}witness other {cosigner(2).verifier}\ngroup g all audit other\nquorum g\n") == 1
    assert "not_witnessed" in capsys.readouterr().out


OTHER = NoteSigner("another.example", Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)).verifier


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (f"{WITNESS}quorum none\n", "asks for no witness"),
        (f"log {OTHER}\n{WITNESS}quorum audit\n", "is about other logs"),
        (f"{WITNESS}quorum\n", "policy:2: The quorum is written"),
        ("", "policy:1: There is no quorum line"),
    ],
)
def test_a_policy_that_says_nothing_here_is_one_sentence(
    state: Path, capsys: pytest.CaptureFixture[str], policy: str, sentence: str
) -> None:
    """With status 2, before anything is read of the ledger."""
    assert verify(state, policy, "--key", SIGNER.verifier) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
