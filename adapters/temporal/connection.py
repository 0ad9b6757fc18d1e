"""The connection to a Temporal frontend: one client, made when it is opened and connected when it is first used."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.service import TLSConfig

from adapters.temporal.config import Config, Encryption, TemporalTls
from adapters.temporal.headers import Headed
from router.errors import ConfigError

ROOT = Path()  # where relative files are looked for, as those of an `http` destination
ENCRYPTED = b"binary/encrypted"


async def connected(settings: Config, name: str) -> Client:
    """Raises ConfigError for files that cannot be used. Nobody need answer yet."""
    encryption = settings.encryption
    return await Client.connect(
        settings.address,
        namespace=settings.namespace,
        api_key=None if settings.api_key is None else settings.api_key.reveal(ROOT),
        data_converter=DataConverter.default if encryption is None else replace(DataConverter.default, payload_codec=_codec(encryption)),
        interceptors=[Headed()],
        tls=False if settings.tls is None else _tls(settings.tls, name),
        identity=f"lockgate@{name}",
        lazy=True,
    )


def _tls(tls: TemporalTls, name: str) -> TLSConfig:
    def content(file: str | None) -> bytes | None:
        try:
            return None if file is None else (ROOT / file).read_bytes()
        except OSError as error:
            raise ConfigError(f"The destination {name} needs {file}, which cannot be read: {error.strerror}.") from error

    return TLSConfig(
        server_root_ca_cert=content(tls.ca),
        domain=tls.server_name,
        client_cert=content(tls.certificate),
        client_private_key=content(tls.key),
    )


def _codec(encryption: Encryption) -> Sealing:
    try:
        key = base64.b64decode(encryption.key.reveal(ROOT), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise ConfigError("The key of 'encryption' must be 32 bytes in base64.")
    return Sealing(key, encryption.key_id)


class Sealing(PayloadCodec):
    """As in Temporal's samples: a nonce of 12 bytes, then the whole payload under AES-GCM."""

    def __init__(self, key: bytes, key_id: str) -> None:
        self._key_id = key_id.encode()
        self._cipher = AESGCM(key)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._sealed(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._opened(payload) if payload.metadata.get("encoding") == ENCRYPTED else payload for payload in payloads]

    def _sealed(self, payload: Payload) -> Payload:
        nonce = os.urandom(12)
        data = nonce + self._cipher.encrypt(nonce, payload.SerializeToString(), None)
        return Payload(metadata={"encoding": ENCRYPTED, "encryption-key-id": self._key_id}, data=data)

    def _opened(self, payload: Payload) -> Payload:
        try:
            return Payload.FromString(self._cipher.decrypt(payload.data[:12], payload.data[12:], None))
        except InvalidTag:
            raise ValueError("the payload is encrypted under another key") from None
