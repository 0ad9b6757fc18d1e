"""A bundle in an OCI registry, as OPA takes one: the layer `application/vnd.oci.image.layer.v1.tar+gzip` of a manifest, by the OCI
distribution specification. Manifest and layer are what their digests say, or they are nothing; so storage elsewhere may give the layer."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
import orjson
from yarl import URL

from adapters.bundle_source import LOCAL, MOST_BYTES, UNAVAILABLE, Connection, Given, told, trusted, whole
from router.errors import BundleError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MOST_MANIFEST = 4 << 20  # what registries take at most
MOST_TOKEN = 64 << 10
MOST_REDIRECTS = 3
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
PARAMETER = re.compile(r'(?<![a-z_])([a-z_]+)="([^"]*)"', re.IGNORECASE)  # a name is begun once, and not from each of its letters
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Login:
    """What a registry, or the server of tokens that it names, is told: a token, or a name and a password; or neither."""

    token: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def basic(self) -> str | None:
        if self.user is None or self.password is None:
            return None
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"


class OciBundle:
    """`registry` is HOST or HOST:PORT, asked by TLS unless it is this machine; `reference` a tag or a digest."""

    def __init__(
        self, registry: str, repository: str, reference: str, login: Login = Login(), ca: Path | None = None, timeout_s: float = 10.0
    ) -> None:
        separator = "@" if DIGEST.fullmatch(reference) else ":"
        self._name = f"oci://{registry}/{repository}{separator}{reference}"
        self._local = urlsplit(f"//{registry}").hostname in LOCAL
        self._base = f"{'http' if self._local and ca is None else 'https'}://{registry}/v2/{repository}"
        self._repository = repository
        self._reference = reference
        self._login = login
        self._timeout_s = timeout_s
        self._connection = Connection(urlsplit(self._base).hostname, trusted(ca, self._name))
        self._authorization = f"Bearer {login.token}" if login.token is not None else None

    async def ask(self, etag: str | None, wait_s: float | None) -> Given:
        """`etag` is the layer's digest. Raises BundleError `bundle_unavailable`. It cannot wait."""
        with told(self._name):
            async with asyncio.timeout(self._timeout_s):
                digest, size = self._layer(await self._manifest())
                if digest == etag:
                    return Given(None, etag)
                content = await self._get(f"{self._base}/blobs/{digest}", "*/*", size)
        if len(content) != size or _digest(content) != digest:
            raise self._wrong("gave a layer that is not what its manifest says")
        return Given(content, digest)

    async def close(self) -> None:
        await self._connection.close()

    async def _manifest(self) -> dict[str, Any]:
        content = await self._get(f"{self._base}/manifests/{self._reference}", f"{MANIFEST}, {DOCKER_MANIFEST}", MOST_MANIFEST)
        if DIGEST.fullmatch(self._reference) and _digest(content) != self._reference:
            raise self._wrong("gave a manifest of another digest")
        try:
            manifest = orjson.loads(content)
        except ValueError:
            manifest = None
        if not isinstance(manifest, dict) or not isinstance(manifest.get("layers"), list):
            raise self._wrong("gave no manifest of an image; an index of several is none")
        return manifest

    def _layer(self, manifest: dict[str, Any]) -> tuple[str, int]:
        """Digest and size."""
        found = [each for each in manifest["layers"] if isinstance(each, dict) and each.get("mediaType") == LAYER]
        if len(found) != 1:
            raise self._wrong(f"has {len(found) or 'no'} layers of the type {LAYER}, and must have one")
        digest, size = found[0].get("digest"), found[0].get("size")
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest) or type(size) is not int:
            raise self._wrong("has a layer without a SHA-256 digest or a size")
        if not 0 < size <= MOST_BYTES:
            raise self._wrong(f"has a layer of {size} bytes; a bundle has at most {MOST_BYTES >> 20} MiB")
        return digest, size

    async def _get(self, url: str, accept: str, most: int) -> bytes:
        """Where the registry asks who it is, once more with the answer."""
        for again in (True, False):
            async with self._following(url, {"accept": accept}) as answer:
                if answer.status == 200:
                    return await whole(answer, self._name, most)
                if answer.status != 401 or not again:
                    raise self._wrong(f"answered {answer.status}")
                challenges = answer.headers.getall("www-authenticate", [])
            self._authorization = await self._answered(challenges)
        raise self._wrong("answered 401")

    @asynccontextmanager
    async def _following(self, url: str, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Registries send who wants a layer to where it is stored; whoever that is learns nothing of the login."""
        for _ in range(MOST_REDIRECTS + 1):
            own = _origin(url) == _origin(self._base)
            sent = {**headers, "authorization": self._authorization} if own and self._authorization is not None else headers
            async with self._asked(url, sent) as answer:
                if answer.status not in REDIRECTS:
                    yield answer
                    return
                url = urljoin(url, answer.headers.get("location", ""))
        raise self._wrong("sends from one place to the next")

    def _asked(self, url: str, headers: dict[str, str]) -> Any:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (self._local and parts.scheme == "http" and parts.hostname in LOCAL):
            raise self._wrong(f"sends to a place without TLS ({parts.scheme}://{parts.netloc})")
        return self._connection.get(URL(url, encoded=True), headers=headers)

    async def _answered(self, challenges: list[str]) -> str:
        """To the challenges of a 401: name and password, or a token that they get."""
        if self._login.token is not None:
            raise self._wrong("does not take the token (401)")
        for challenge in challenges:
            kind, _, rest = challenge.partition(" ")
            if kind.lower() == "bearer":
                return f"Bearer {await self._token({name.lower(): value for name, value in PARAMETER.findall(rest)})}"
            if kind.lower() == "basic" and self._login.basic is not None and self._authorization != self._login.basic:
                return self._login.basic
        raise self._wrong("wants another login (401)")

    async def _token(self, challenge: dict[str, str]) -> str:
        """To read this repository and for nothing else, whatever the challenge says."""
        asked = {"service": challenge["service"]} if challenge.get("service") else {}
        query = urlencode({**asked, "scope": f"repository:{self._repository}:pull"})
        realm = challenge.get("realm", "")
        headers = {"authorization": self._login.basic} if self._login.basic is not None else {}
        async with self._asked(f"{realm}{'&' if '?' in realm else '?'}{query}", headers) as answer:
            if answer.status != 200:
                raise self._wrong(f"names {urlsplit(realm).netloc} for tokens, which answered {answer.status}")
            content = await whole(answer, self._name, MOST_TOKEN)
        try:
            found = orjson.loads(content)
            token = found.get("token") or found.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise self._wrong(f"names {urlsplit(realm).netloc} for tokens, which gave none")
        return token

    def _wrong(self, what: str) -> BundleError:
        return BundleError(f"{self._name} {what}.", UNAVAILABLE)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
