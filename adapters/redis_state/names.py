"""What callers' names are in keys: digests, so that keys are short, and the server learns no names.

While nodes exchange their common secret, those that have both keep everything under both names. The former always comes first: it is what
nodes have that know of the former alone, and of two who claim something at once, whoever claims the first name first has it.
"""

from __future__ import annotations

from hashlib import blake2b


class Names:
    """`key` is mixed in where there is one: without it a name that is guessed can be recognised. `former` is the secret before it."""

    def __init__(self, prefix: str, key: bytes = b"", former: bytes | None = None) -> None:
        self._prefix = prefix
        self._keys = [blake2b(each, digest_size=32).digest() if each else b"" for each in ([key] if former is None else [former, key])]

    def of(self, kind: str, name: str) -> str:
        """By the key that stays."""
        return self._named(kind, name, self._keys[-1])

    def each(self, kind: str, name: str) -> tuple[str, ...]:
        """All under which it is kept, the former first."""
        return tuple(self._named(kind, name, key) for key in self._keys)

    def _named(self, kind: str, name: str, key: bytes) -> str:
        return f"{self._prefix}:{kind}:{blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=16, key=key).hexdigest()}"
