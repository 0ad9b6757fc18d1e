"""Outside truth: cosignatures that public witnesses gave to public logs, keys as other implementations publish them, and the example of
C2SP `tlog-policy`."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from router.audit.witnesses.cosignature import CosignatureVerifier, Cosigner
from router.audit.witnesses.policy import parse_policy
from router.errors import AuditError

REMORA = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
ARCHE = """arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
"""  # noqa: E501  # as published
# torchwood's `litewitness` tests: the seed of a witness named example.com/witness and a log's signed checkpoint.
WITNESS_SEED = "31ffc2116ecbe003acaa800ab70757bd7d53206e3febef6a6d0796d95530b34f"
WITNESS_PUBLIC = "64848ad8abed6e85981b3b3875b252b8767ebb4b02f703aca3b1e71bbd6a8e50"


def test_a_public_witness_cosignature_is_read_and_verified() -> None:
    """Among five others' lines, of three kinds of signatures, the witness's own is found, right, and from when it says."""
    found = CosignatureVerifier(REMORA).find(ARCHE)
    assert found is not None
    assert (found.name, found.at) == ("remora.n621.de", 0x6A122120)
    assert found.line in ARCHE


def test_a_public_cosignature_over_another_text_is_wrong() -> None:
    """One record more than the witness saw."""
    with pytest.raises(AuditError, match="cosignature by remora"):
        CosignatureVerifier(REMORA).find(ARCHE.replace("1432088532", "1432088533"))


def test_key_and_id_of_a_published_seed() -> None:
    """The verifier line is made of the key as the specification says, and is read back."""
    cosigner = Cosigner("example.com/witness", Ed25519PrivateKey.from_private_bytes(bytes.fromhex(WITNESS_SEED)))
    verifier = CosignatureVerifier(cosigner.verifier)
    assert verifier.public.hex() == WITNESS_PUBLIC
    text = ARCHE.partition("\n\n")[0] + "\n"
    found = verifier.find(f"{text}\n{cosigner.cosign(text, 1679315147)}")
    assert found is not None
    assert found.at == 1679315147


MLDSA_START = "witness.example/w1+7118e8f9+BhQz"


@pytest.mark.parametrize(
    "verifier",
    [
        "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6",  # a log's key, type 1
        REMORA.replace("da77ade7", "da77ade8"),
        REMORA.replace("remora", "aremor"),
        REMORA[:-1] + "3",  # the same bytes, written in another way than base64 has for them
        "bananas.sigstore.dev+12344556",
        "rekor.sigstore.dev+12345678+THIS_IS_NOT_BASE64!",
        "rekor.sigstore.dev+12345678+AwEB",
        MLDSA_START,
        "",
    ],
)
def test_a_key_that_is_none_is_refused(verifier: str) -> None:
    """Other kinds of keys, wrong ids, other names, and what is no key at all."""
    with pytest.raises(AuditError) as caught:
        CosignatureVerifier(verifier)
    assert caught.value.code == "verifier_key_invalid"


def test_the_published_policy_means_what_its_page_says() -> None:
    """Two of the X witnesses and one of the Y witnesses; nothing less."""
    keys = {name: Cosigner(f"{name}.example", Ed25519PrivateKey.generate()).verifier for name in ("X1", "X2", "X3", "Y1", "Y2", "Y3")}
    lines = [
        *(f"witness {name} {key}" for name, key in keys.items() if name[0] == "X"),
        "group X-witnesses 2 X1 X2 X3",
        "",
        *(f"witness {name} {key}" for name, key in keys.items() if name[0] == "Y"),
        "group Y-witnesses any Y1 Y2 Y3",
        "",
        "group X-and-Y all X-witnesses Y-witnesses",
        "quorum X-and-Y",
    ]
    policy = parse_policy("".join(f"{line}\n" for line in lines).encode(), "example")
    assert policy.met({"X1", "X3", "Y2"})
    assert policy.met({*keys})
    assert not policy.met({"X1", "X2", "X3"})
    assert not policy.met({"X1", "Y1", "Y2", "Y3"})
    assert not policy.met(set())
