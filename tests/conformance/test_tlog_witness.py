"""Outside truth for `add-checkpoint`: requests that another implementation's tests publish (torchwood's `litewitness`), and an opening of
the answers that shares no code with ours."""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from router.audit.witnesses.cosignature import Cosigner
from router.audit.witnesses.desk import WitnessDesk
from tests.unit.audit.witnesses import START_S, Clock, Memory

ORIGIN = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
KEY = bytes.fromhex("ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f")
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes.fromhex("31ffc2116ecbe003acaa800ab70757bd7d53206e3febef6a6d0796d95530b34f"))
ONE = f"""old 0

{ORIGIN}
1
KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

— {ORIGIN} UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=
"""
THREE = f"""old 1
KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

{ORIGIN}
3
RcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=

— {ORIGIN} UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=
"""
FIVE = f"""old 1
KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
+fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI=
KgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

{ORIGIN}
5
QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=

— {ORIGIN} UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=
"""


@pytest.fixture
def desk() -> WitnessDesk:
    key_id = sha256(ORIGIN.encode() + b"\n\x01" + KEY).digest()[:4]
    verifier = f"{ORIGIN}+{key_id.hex()}+{b64encode(bytes([1]) + KEY).decode()}"
    return WitnessDesk(Cosigner("example.com", WITNESS), [verifier], Memory(), Clock())


def opened(request: str, answer: str) -> int:
    """The time of a cosignature, verified by hand: tlog-cosignature's own words, and nothing of ours."""
    body = request.partition("\n\n")[2].rpartition("\n\n")[0] + "\n"
    assert answer.endswith("\n")
    mark, name, encoded = answer[:-1].split(" ")
    raw = b64decode(encoded)
    public = WITNESS.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert (mark, name) == ("\u2014", "example.com")
    assert raw[:4] == sha256(b"example.com\n\x04" + public).digest()[:4]
    at = int.from_bytes(raw[4:12], "big")
    Ed25519PublicKey.from_public_bytes(public).verify(raw[12:], f"cosignature/v1\ntime {at}\n{body}".encode())
    return at


def test_published_requests_are_cosigned(desk: WitnessDesk) -> None:
    """A first tree, and one that continues it by a published proof; each cosignature opens by the specification's own words."""
    for request in (ONE, FIVE):
        answer = desk.add_checkpoint(request.encode())
        assert answer.status == 200
        assert opened(request, answer.body) == START_S


def test_a_published_race_is_lost_by_the_smaller_tree(desk: WitnessDesk) -> None:
    """Two trees were brought on top of one; the smaller came second, and is told the size that was cosigned."""
    desk.add_checkpoint(ONE.encode())
    desk.add_checkpoint(FIVE.encode())
    answer = desk.add_checkpoint(THREE.encode())
    assert (answer.status, answer.content_type, answer.body) == (409, "text/x.tlog.size", "5\n")


def test_published_proofs_are_not_mixed_up(desk: WitnessDesk) -> None:
    """One tree's proof does not lead to the other."""
    desk.add_checkpoint(ONE.encode())
    head, note = THREE.split("\n\n", 1)[0], FIVE.split("\n\n", 1)[1]
    assert desk.add_checkpoint(f"{head}\n\n{note}".encode()).status == 422


def test_a_published_request_with_too_many_proof_lines_is_malformed(desk: WitnessDesk) -> None:
    """Sixty-four."""
    lines = "KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" * 64
    assert desk.add_checkpoint(ONE.replace("old 0\n", f"old 0\n{lines}", 1).encode()).status == 400
