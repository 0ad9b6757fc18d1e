"""Who stands for SNS: signs envelopes as it does, and hands out the certificate from a server of its own, over TLS."""

from __future__ import annotations

import json
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from tests.e2e.authority import Authority

TOPIC = "arn:aws:sns:eu-central-1:123456789012:orders"
ORDER = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


def certificate(key: rsa.RSAPrivateKey, name: str = "sns.amazonaws.com", *, days: tuple[int, int] = (1, 30)) -> bytes:
    subject, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]), datetime.now(UTC)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=days[0])).not_valid_after(now + timedelta(days=days[1]))
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM)


@dataclass
class Signer:
    """`places`: status and content by path; `asked`: the paths, as they were asked for."""

    key: rsa.RSAPrivateKey
    ca: Path
    places: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def base(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def envelope(self, kind: str = "Notification", *, version: str = "2", key: rsa.RSAPrivateKey | None = None, **changes: Any) -> bytes:
        """`changes` are made before it is signed; one that is None leaves the field out."""
        told: dict[str, Any] = {
            "Type": kind, "MessageId": "m-1", "TopicArn": TOPIC, "Message": '{"amount": 3}',
            "Timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"), "SigningCertURL": f"{self.base}/key.pem",
        }  # fmt: skip
        if kind != "Notification":
            told |= {"Token": "t", "SubscribeURL": f"{self.base}/?Action=ConfirmSubscription&Token=t"}
        told = {name: value for name, value in {**told, **changes}.items() if value is not None}
        text = "".join(f"{name}\n{told[name]}\n" for name in ORDER[kind] if name in told).encode()
        signature = (key or self.key).sign(text, PKCS1v15(), SHA1() if version == "1" else SHA256())
        return json.dumps({**told, "SignatureVersion": version, "Signature": b64encode(signature).decode()}).encode()


@contextmanager
def signing(folder: Path) -> Iterator[Signer]:
    authority = Authority(folder, "sns")
    own, secret = authority.issue("sns-server", x509.IPAddress(ip_address("127.0.0.1")))
    made = Signer(rsa.generate_private_key(65537, 2048), authority.ca)
    made.places["/key.pem"] = (200, certificate(made.key))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            status, content = made.places.get(self.path.partition("?")[0], (404, b""))
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(own, secret)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    made.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
