"""What SNS signs, and whether it did: the texts of its signature versions 1 and 2, over the fields of an envelope.

    1 it is an envelope   2 of a topic that is named   3 its certificate is where only SNS could put it   4 it is SNS' and valid now
    5 the signature fits   6 it is not from long ago

Only the fields that are in the signed text are handed on. `MessageAttributes` are not: whoever has an envelope may change them.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from router.errors import RefusedError

NOTIFICATION, CONFIRMATION = "Notification", "SubscriptionConfirmation"
_HANDLING = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
SIGNED: Mapping[str, tuple[str, ...]] = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: _HANDLING,
    "UnsubscribeConfirmation": _HANDLING,
}
_HASHES: Mapping[str, type[HashAlgorithm]] = {"1": SHA1, "2": SHA256}
_HOST = re.compile(r"sns\.([a-z0-9-]{3,32})\.amazonaws\.com(\.cn)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
AHEAD_S = 300.0
MOST_URL = 1024


@dataclass(frozen=True, slots=True)
class Envelope:
    """`fields` are the signed ones, all of them text."""

    kind: str
    fields: Mapping[str, str]
    version: str
    signature: bytes
    certificate: str

    @property
    def topic(self) -> str:
        return self.fields["TopicArn"]

    def text(self) -> bytes:
        return "".join(f"{name}\n{self.fields[name]}\n" for name in SIGNED[self.kind] if name in self.fields).encode()


def read_envelope(body: bytes) -> Envelope:
    """Raises RefusedError `event_invalid` (422) for what SNS would not send, `event_unsigned` (401)."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict) or not isinstance(kind := told.get("Type"), str) or kind not in SIGNED:
        raise RefusedError("This is no envelope of SNS: its 'Type' is none of SNS'.", "event_invalid", 422)
    if not told.get("Signature"):
        raise RefusedError("The envelope of SNS has no signature.", "event_unsigned", 401)
    fields = {name: told[name] for name in SIGNED[kind] if told.get(name) is not None}
    lacking = [name for name in SIGNED[kind] if name not in fields and name != "Subject"]
    rest: dict[str, Any] = {name: told.get(name) for name in ("SignatureVersion", "Signature", "SigningCertURL")}
    if lacking or not all(isinstance(each, str) for each in (*fields.values(), *rest.values())):
        raise RefusedError("The envelope of SNS lacks a field that is signed, or one of them is no text.", "event_invalid", 422)
    if any(not each.isprintable() for name, each in fields.items() if name != "Message"):
        # what is signed has no lengths: with line breaks the same text could be read as other fields
        raise RefusedError("The envelope of SNS has a field that is more than one line.", "event_invalid", 422)
    if rest["SignatureVersion"] not in _HASHES:
        raise RefusedError("The envelope of SNS has a signature of a version that is not known.", "event_signature_invalid", 401)
    try:
        signature = b64decode(rest["Signature"], validate=True)
    except ValueError:
        raise _wrong() from None
    return Envelope(kind, fields, rest["SignatureVersion"], signature, rest["SigningCertURL"])


def check_topic(envelope: Envelope, topics: Collection[str]) -> None:
    if envelope.topic not in topics:
        raise RefusedError("The envelope is of a topic that this source does not name.", "event_topic_unknown", 403)


def place(url: str, base: str | None) -> str:
    """The host of a URL that only SNS could have put something at, or who stands for it at `base`. Raises RefusedError."""
    try:
        parts = urlsplit(url)
        plain = parts.scheme == "https" and not parts.username and not parts.fragment and len(url) <= MOST_URL and url.isprintable()
        ours = _HOST.fullmatch(parts.hostname or "") is not None and parts.port in (None, 443)
        if base is not None:
            wanted = urlsplit(base)
            ours = (parts.hostname, parts.port) == (wanted.hostname, wanted.port)
    except ValueError:
        plain = ours = False
    if not plain or not ours:
        raise RefusedError("The envelope names a place that is none of SNS'.", "event_certificate_refused", 401)
    return parts.hostname or ""


def check_certificate(certificate: x509.Certificate, host: str, now_s: float) -> RSAPublicKey:
    """Its key. Raises RefusedError `event_certificate_refused`."""
    now = datetime.fromtimestamp(now_s, UTC)
    region = _HOST.fullmatch(host)
    names = {host, "sns.amazonaws.com"} | ({f"sns-signing.{region[1]}.amazonaws.com{region[2] or ''}"} if region else set())
    key = certificate.public_key()
    valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
    if not valid or not names & _names(certificate) or not isinstance(key, RSAPublicKey) or key.key_size < 2048:
        raise RefusedError("The certificate of the signature is not SNS', or not valid now.", "event_certificate_refused", 401)
    return key


def check_signature(envelope: Envelope, key: RSAPublicKey) -> None:
    try:
        key.verify(envelope.signature, envelope.text(), PKCS1v15(), _HASHES[envelope.version]())
    except InvalidSignature:
        raise _wrong() from None


def check_time(envelope: Envelope, at_s: float, oldest_s: float) -> None:
    """`at_s`: when it arrived. Raises RefusedError `event_stale`."""
    stamp = envelope.fields["Timestamp"]
    if not _TIME.fullmatch(stamp):
        raise RefusedError("The envelope's time is not as SNS writes it.", "event_invalid", 422)
    try:
        told = datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        raise RefusedError("The envelope's time is none.", "event_invalid", 422) from None
    if not -AHEAD_S <= at_s - told <= oldest_s:
        raise RefusedError("The envelope was made too long ago, or by a clock that is ahead.", "event_stale", 401)


def handed_on(envelope: Envelope) -> tuple[bytes, dict[str, str]]:
    """Content and fields of a notification, of what was signed alone."""
    content = envelope.fields["Message"].encode("utf-8", "surrogatepass")
    fields = {
        "content-type": "application/json" if _is_json(content) else "text/plain; charset=utf-8",
        "sns-topic": envelope.topic,
        "sns-message-id": envelope.fields["MessageId"],
        "sns-timestamp": envelope.fields["Timestamp"],
    }
    if "Subject" in envelope.fields:
        fields["sns-subject"] = envelope.fields["Subject"]
    return content, fields


def _is_json(content: bytes) -> bool:
    try:
        return isinstance(orjson.loads(content), dict | list)
    except orjson.JSONDecodeError:
        return False


def _names(certificate: x509.Certificate) -> set[str]:
    found = {str(each.value) for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)}
    try:
        more = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return found
    return found | {str(each.value) for each in more if isinstance(each, x509.DNSName | x509.IPAddress)}


def _wrong() -> RefusedError:
    return RefusedError("The signature of the envelope is not SNS'.", "event_signature_invalid", 401)
