"""Outside truth: the published RFC 6962 tree vectors of the Certificate Transparency project and the signed-note vectors of Go's
`sumdb/note`, which C2SP `signed-note` specifies."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from router.audit.tree.checkpoint import Checkpoint, NoteSigner, NoteVerifier, note_checkpoint, parse_checkpoint, split_note
from router.audit.tree.merkle import EMPTY_ROOT, CompactRange, consistency_proof, inclusion_proof, leaf_hash, range_hash, verify_inclusion
from router.errors import AuditError

LEAVES = [
    bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATHS = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]  # fmt: skip
CONSISTENCY = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]  # fmt: skip
VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"


def subtree(level: int, index: int) -> bytes:
    hashes = [leaf_hash(leaf) for leaf in LEAVES[index << level : (index + 1) << level]]
    return hashes[0] if level == 0 else range_hash(0, len(hashes), lambda above, at: _folded(hashes[at << above : (at + 1) << above]))


def _folded(hashes: list[bytes]) -> bytes:
    tree = CompactRange()
    for hashed in hashes:
        tree.append(hashed)
    return tree.root()


def test_tree_heads_are_those_published() -> None:
    """Eight leaves, eight roots."""
    tree = CompactRange()
    assert tree.root() == EMPTY_ROOT
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.append(leaf_hash(leaf))
        assert tree.root().hex() == root


@pytest.mark.parametrize(("index", "size", "path"), PATHS)
def test_inclusion_proofs_are_those_published(index: int, size: int, path: list[str]) -> None:
    """Generated as published, and verified against the published root."""
    proof = inclusion_proof(index, size, subtree)
    assert [step.hex() for step in proof] == path
    assert verify_inclusion(leaf_hash(LEAVES[index]), index, size, proof, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("old", "new", "path"), CONSISTENCY)
def test_consistency_proofs_are_those_published(old: int, new: int, path: list[str]) -> None:
    """Generated as published."""
    assert [step.hex() for step in consistency_proof(old, new, subtree)] == path


def test_the_published_note_opens() -> None:
    """Key, key id, text and signature of another implementation are understood."""
    assert NoteVerifier(VERIFIER).open(f"{TEXT}\n{SIGNATURE}") == TEXT


@pytest.mark.parametrize(
    "note",
    [
        f"{TEXT.replace('know', 'knew')}\n{SIGNATURE}",
        f"{TEXT}\n{SIGNATURE.replace('PeterNeumann', 'EnochRoot')}",
        f"{TEXT}\n{SIGNATURE.replace('x08g', 'x08h')}",
        f"{TEXT}{SIGNATURE}",
        f"{TEXT}\n{SIGNATURE[:-1]}",
        f"{TEXT}\n- PeterNeumann x08go/ZJ\n",
        f"{TEXT}\n— PeterNeumann !!\n",
        "",
    ],
)
def test_an_altered_note_does_not_open(note: str) -> None:
    """Text, name, key id, signature and form all count."""
    with pytest.raises(AuditError):
        NoteVerifier(VERIFIER).open(note)


@pytest.mark.parametrize(
    "verifier", ["", "x", "PeterNeumann+00000000+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "a+b+c", VERIFIER[:-4]]
)
def test_a_malformed_verifier_key_is_refused(verifier: str) -> None:
    """A key whose id does not fit its bytes is no key."""
    with pytest.raises(AuditError):
        NoteVerifier(verifier)


def test_our_checkpoint_is_read_back() -> None:
    """Signed, opened and parsed; another signature beside ours is passed over."""
    signer, other = (NoteSigner(name, Ed25519PrivateKey.generate()) for name in ("log.example/ledger", "witness.example"))
    checkpoint = Checkpoint("log.example/ledger", 20852163, bytes(range(32)))
    note = signer.sign(checkpoint.text())
    text, cosigned = other.sign(checkpoint.text()).rsplit("\n\n", 1)
    assert text == checkpoint.text()[:-1]
    assert NoteVerifier(signer.verifier).open_checkpoint(note + cosigned) == checkpoint
    assert [name for name, _ in split_note(note + cosigned)[1]] == ["log.example/ledger", "witness.example"]
    assert note_checkpoint(note) == checkpoint


def test_a_checkpoint_of_another_origin_is_refused() -> None:
    """A log's key speaks for that log only."""
    signer = NoteSigner("log.example", Ed25519PrivateKey.generate())
    with pytest.raises(AuditError, match=r"is of other\.example"):
        NoteVerifier(signer.verifier).open_checkpoint(signer.sign(Checkpoint("other.example", 1, bytes(32)).text()))


ROOT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def test_extension_lines_are_passed_over() -> None:
    """tlog-checkpoint allows them after the root."""
    assert parse_checkpoint(f"o\n0\n{ROOT}\nextension\n").size == 0


@pytest.mark.parametrize(
    "text", [f"o\n01\n{ROOT}\n", f"o\n-1\n{ROOT}\n", f"o\n²\n{ROOT}\n", "o\n1\nAAAA\n", f"o\n1\n{ROOT}", f"\n1\n{ROOT}\n", "o\n1\n"]
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    """Leading zeros, signs, other digits, short roots and missing lines."""
    with pytest.raises(AuditError):
        parse_checkpoint(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n"])
def test_a_name_that_cannot_stand_in_a_note_is_refused(name: str) -> None:
    """An origin must survive the format."""
    with pytest.raises(AuditError):
        NoteSigner(name, Ed25519PrivateKey.generate())
