"""Small bundles, signed by keys of the test's own."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from router.bundle.build import Signing, Sources, assemble
from router.bundle.content import Attestation, attested_digest
from router.bundle.signature import VerificationKey, signing_key, verification_key

POLICY = b'package lockgate.decision\n\nresult := {"effect": "deny"}\n'
TEST = b'package lockgate.decision_test\n\nimport data.lockgate.decision\n\ntest_deny if decision.result.effect == "deny"\n'
ADMISSION = b'package lockgate.admission\n\nresult := {"effect": "allow"}\n'
DATA: dict[str, Any] = {"lockgate": {"config": {"floor": 0.5, "names": ["ä", "b"]}}}
TEXTS = {"lockgate/decision.rego": POLICY, "lockgate/admission.rego": ADMISSION, "lockgate/decision_test.rego": TEST}


def pair(algorithm: str = "ES256") -> tuple[bytes, bytes]:
    """PEM of a new private key and of its public one."""
    if algorithm == "EdDSA":
        made: Any = ed25519.Ed25519PrivateKey.generate()
    elif algorithm.startswith("ES"):
        made = ec.generate_private_key(ec.SECP256R1() if algorithm == "ES256" else ec.SECP384R1())
    else:
        made = rsa.generate_private_key(65537, 2048)
    private = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


PRIVATE, PUBLIC = pair()


def signing(private: bytes = PRIVATE, algorithm: str | None = None, key_id: str = "release", scope: str = "") -> Signing:
    return Signing(*signing_key(private, algorithm, "k.pem"), key_id, scope)


def trusted(public: bytes = PUBLIC, algorithm: str | None = None, key_id: str = "release", scope: str = "") -> dict[str, VerificationKey]:
    return {key_id: verification_key(public, algorithm, scope, "k.pub")}


def sources(texts: dict[str, bytes] | None = None, data: dict[str, Any] | None = None) -> Sources:
    return Sources(texts if texts is not None else TEXTS, data if data is not None else DATA)


def attestation(of: Sources, passed: int = 1, engine: str = "opa") -> Attestation:
    version, by = ("1.20.2", "library") if engine == "opa" else ("", "")
    return Attestation(engine, passed, attested_digest(of.policies, of.tests, of.data), "2026-11-28T00:00:00+00:00", version, by)


def files(
    of: Sources | None = None,
    sequence: int = 7,
    revision: str = "r7",
    attested: bool = True,
    by: Signing | None = None,
    signed: bool = True,
) -> dict[str, bytes]:
    """Of a bundle; signed by `by` or the usual key, unless it is not to be."""
    made = of if of is not None else sources()
    who = (by or signing()) if signed else None
    return assemble(made, revision, sequence, ("lockgate",), attestation(made) if attested else None, who)
