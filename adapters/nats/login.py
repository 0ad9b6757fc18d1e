"""What proves to a NATS server who we are. NKEYs are Ed25519 keys in base32 with a checksum (nats-io/nkeys)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from adapters.nats.config import Reached
from router.errors import ConfigError

SEED, USER = 18 << 3, 20 << 3
_BLOCK = re.compile(r"-{3,}BEGIN ([A-Z ]+)-{3,}\s+(\S+)\s+-{3,}END [A-Z ]+-{3,}")


@dataclass(frozen=True, slots=True)
class Login:
    """`sign` makes the signature over a nonce in base64; `public` and `jwt` say whose key it is."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    public: str | None = None
    jwt: str | None = field(default=None, repr=False)
    sign: Callable[[str], bytes] | None = field(default=None, repr=False)


def login(settings: Reached, root: Path) -> Login:
    """Secrets are read now: they may have been exchanged. Raises ConfigError."""
    if settings.user is not None and settings.password is not None:
        return Login(user=settings.user, password=settings.password.reveal(root))
    if settings.token is not None:
        return Login(token=settings.token.reveal(root))
    if settings.nkey is not None:
        public, sign = _signer(settings.nkey.reveal(root).strip())
        return Login(public=public, sign=sign)
    if settings.credentials is not None:
        blocks = {found[1]: found[2] for found in _BLOCK.finditer(settings.credentials.reveal(root))}
        if "NATS USER JWT" not in blocks or "USER NKEY SEED" not in blocks:
            raise ConfigError("The NATS 'credentials' are no text of a .creds file: they need a user's JWT and its NKEY seed.")
        return Login(jwt=blocks["NATS USER JWT"], sign=_signer(blocks["USER NKEY SEED"])[1])
    return Login()


def _signer(seed: str) -> tuple[str, Callable[[str], bytes]]:
    key = Ed25519PrivateKey.from_private_bytes(_seed(seed))
    public = _encoded(bytes([USER]) + key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    return public, lambda nonce: base64.b64encode(key.sign(nonce.encode()))


def _seed(text: str) -> bytes:
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        raw = b""
    if len(raw) != 36 or raw[0] & 0xF8 != SEED or _crc16(raw[:-2]).to_bytes(2, "little") != raw[-2:]:
        raise ConfigError("The NATS NKEY seed is none: it has 58 letters and begins with SU.")
    if (raw[0] & 7) << 5 | (raw[1] & 0xF8) >> 3 != USER:
        raise ConfigError("The NATS NKEY seed is not a user's: it must begin with SU.")
    return raw[2:34]


def _encoded(raw: bytes) -> str:
    return base64.b32encode(raw + _crc16(raw).to_bytes(2, "little")).decode().rstrip("=")


def _crc16(data: bytes) -> int:
    """CRC-16/XMODEM."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc
