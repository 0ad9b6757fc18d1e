"""What callers' names are in keys: digests, so that keys are short, and the server learns no names."""

from __future__ import annotations

from hashlib import blake2b


class Names:
    """`key` is mixed in where there is one: without it a name that is guessed can be recognised."""

    def __init__(self, prefix: str, key: bytes = b"") -> None:
        self._prefix = prefix
        self._key = blake2b(key, digest_size=32).digest() if key else b""

    def of(self, kind: str, name: str) -> str:
        return f"{self._prefix}:{kind}:{blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=16, key=self._key).hexdigest()}"
