"""A real OCI registry on loopback: Debian's `docker-registry`, filled by ORAS; open, with a password, or with a server of tokens."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.jwk import RSAKey

from examples.halden.demo.company import free_ports
from tests.needs import needs, needs_program

USER, PASSWORD = "reader", "pass word"
HTPASSWD = "reader:$2y$05$abcdefghijklmnopqrstuuIt/9/tGzLcigNq/.RWIDjeEVR30RSf."  # bcrypt of it
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
START_S = 20.0
CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"{tls}}}
{auth}
"""


def needed() -> None:
    """At the top of a test module."""
    needs_program("docker-registry", "run `make debian`")
    needs("oras", "it is in the group `test`")


@dataclass
class Tokens:
    """A server of tokens. `scopes` is what it was asked for; `lifetime_s` of what it gives."""

    port: int
    key: RSAKey
    certificate: str
    scopes: list[str] = field(default_factory=list)
    lifetime_s: int = 300

    def given(self, scope: str) -> str:
        now = int(time.time())
        _, name, actions = scope.split(":")
        access = [{"type": "repository", "name": name, "actions": actions.split(",")}]
        claims = {
            "iss": "tokens",
            "sub": USER,
            "aud": "registry",
            "iat": now,
            "nbf": now - 10,
            "exp": now + self.lifetime_s,
            "access": access,
        }
        return jwt.encode(
            {"typ": "JWT", "alg": "RS256", "x5c": [self.certificate]}, {**claims, "jti": str(now)}, self.key, algorithms=["RS256"]
        )


@dataclass
class Registry:
    port: int
    folder: Path
    tokens: Tokens | None = None
    ca: Path | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def push(self, name: str, *contents: bytes, kind: str = LAYER) -> str:
        """By ORAS; the manifest's digest."""
        import oras.client

        files = [self.folder / f"{number}.tar.gz" for number in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        verified = {"insecure": True} if self.ca is None else {"tls_verify": str(self.ca)}
        client = oras.client.OrasClient(hostname=self.host, auth_backend="basic" if self.tokens is None else "token", **verified)
        if self.tokens is not None:  # for all that a push asks, which this client does not get by itself
            client.auth.set_token_auth(self.tokens.given(f"repository:{name.partition(':')[0]}:pull,push"))
        else:
            client.auth.set_basic_auth(USER, PASSWORD)
        answer = client.push(f"{self.host}/{name}", files=[f"{file}:{kind}" for file in files], disable_path_validation=True, quiet=True)
        return str(answer.headers["Docker-Content-Digest"])


@contextmanager
def registry(folder: Path, auth: str = "none", *, tls: bool = False) -> Iterator[Registry]:
    """`auth`: none, password or tokens."""
    made = Registry(free_ports(1)[0], folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = ""
    if tls:
        made.ca = folder / "tls.pem"
        private, certificate = self_signed("127.0.0.1")
        made.ca.write_bytes(certificate.public_bytes(Encoding.PEM))
        (folder / "tls.key").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        files = f", tls: {{certificate: {made.ca}, key: {folder / 'tls.key'}}}"
    told = ""
    with tokens_server(folder) if auth == "tokens" else nullcontext() as tokens:
        if auth == "password":
            (folder / "htpasswd").write_text(HTPASSWD + "\n")
            told = f"auth: {{htpasswd: {{realm: here, path: {folder / 'htpasswd'}}}}}"
        if tokens is not None:
            made.tokens = tokens
            realm = f"http://127.0.0.1:{tokens.port}/token"
            told = f'auth: {{token: {{realm: "{realm}", service: registry, issuer: tokens, rootcertbundle: {folder / "tokens.pem"}}}}}'
        (folder / "registry.yml").write_text(CONFIG.format(root=folder / "storage", port=made.port, auth=told, tls=files))
        with running(
            ["docker-registry", "serve", str(folder / "registry.yml")],
            f"{'https' if tls else 'http'}://{made.host}/v2/",
            folder / "registry.log",
        ):
            yield made


@contextmanager
def running(command: list[str], url: str, log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """A server, until the end of the block; begun once it answers anything."""
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment)
    try:
        _answers(process, url, log)
        yield
    finally:
        process.terminate()
        process.wait()


def _answers(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except OSError as error:
            if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):  # which is an answer
                return
            time.sleep(0.05)
    raise AssertionError(f"{url} did not answer: {log.read_text()}")


def self_signed(name: str) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    """For a name, or for the address that it is."""
    private = rsa.generate_private_key(65537, 2048)
    whose = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(whose)
        .issuer_name(whose)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    return private, made.sign(private, SHA256())


@contextmanager
def tokens_server(folder: Path) -> Iterator[Tokens]:
    private, certificate = self_signed("tokens")
    (folder / "tokens.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    encoded = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
    basic = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            (scope,) = parse_qs(urlsplit(self.path).query).get("scope", [""])
            made.scopes.append(scope)
            known = self.headers.get("authorization") == basic
            body: dict[str, Any] = {"token": made.given(scope)} if known else {"details": "who?"}
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Tokens(server.server_address[1], RSAKey.import_key(private), encoded)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
