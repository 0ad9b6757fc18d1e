"""The key-value engine (version 2) of HashiCorp Vault or OpenBao: the newest version of a secret, with all its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from adapters.vault_api import VaultApi, VaultError
from router.config.secrets import VaultSecrets
from router.errors import SecretError


class VaultSecretStore:
    """Implements `router.ports.SecretStore`."""

    def __init__(self, config: VaultSecrets, token: Callable[[], str], ca: Path | None = None) -> None:
        self._config = config
        try:
            self._api = VaultApi(config, token, ca, "secret")
        except VaultError as error:
            raise SecretError(str(error)) from None

    def read(self, path: str) -> Mapping[str, object]:
        """GET MOUNT/data/PATH; a version that was deleted is a 404."""
        subject = f"The secret '{path}' of the vault {self._config.address}"
        try:
            fields = self._api.ask("GET", f"{self._config.mount}/data/{path}", None).get("data")
            if not isinstance(fields, dict):
                raise self._api.odd()
        except VaultError as error:
            raise SecretError(f"{subject} {error}") from None
        return fields
