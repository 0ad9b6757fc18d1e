"""Secrets that are in a vault, as settings ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from router.config.secrets import VaultSecrets
from router.errors import SecretError
from router.faults import Document, Fault, Loc, dotted
from router.ports import SecretStore
from router.registry import ADAPTERS, Registry
from router.secret import InVault, secrets_in


@dataclass(frozen=True, slots=True)
class Use:
    """A place of the configuration that wants a secret of the vault."""

    file: str
    line: int
    name: str
    place: InVault

    def fault(self, why: object) -> Fault:
        return Fault(self.file, self.line, f"'{self.name}' cannot be had: {why}")


class Vaulted:
    """Implements `router.secret.Source`. `settings` are None where no vault is configured; `uses` is every place that wants a secret, as
    settings are validated. What was read once stays what it is: of one workspace nobody sees two values of a secret. Workers are given
    what was read and ask no vault."""

    def __init__(self, root: Path, read: Mapping[InVault, str], registry: Registry = ADAPTERS) -> None:
        self.settings: VaultSecrets | None = None
        self.uses: list[Use] = []
        self._root = root
        self._read = dict(read)
        self._registry = registry

    def wanted(self, document: Document, loc: Loc, settings: BaseModel) -> None:
        """Takes down what validated settings want. `loc` is where they are written."""
        self.uses += [
            Use(document.file, document.line(at), dotted(at), secret.vault)
            for at, secret in secrets_in(loc, settings)
            if secret.vault is not None
        ]

    def known(self, place: InVault) -> str | None:
        return self._read.get(place)

    def value(self, place: InVault) -> str:
        if place not in self._read:
            self._read[place] = field_of(self.store().read(place.path), place)
        return self._read[place]

    def store(self) -> SecretStore:
        """Raises SecretError."""
        settings = self.settings
        if settings is None:
            raise SecretError("A secret is in a vault, and 'secrets.vault' does not say which.")
        adapter = self._registry.load("secret store", "vault")
        store: SecretStore = adapter.VaultSecretStore(
            settings, partial(settings.token.reveal, self._root), self._root / settings.ca if settings.ca else None
        )
        return store


def field_of(fields: Mapping[str, object], place: InVault) -> str:
    """Raises SecretError."""
    value = fields.get(place.field)
    if not isinstance(value, str) or not value:
        what = "is empty or no text" if place.field in fields else "does not exist"
        raise SecretError(f"The field '{place.field}' of the secret '{place.path}' in the vault {what}.")
    return value
