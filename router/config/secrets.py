"""Where secrets come from that are not in the configuration, its environment or a file."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from router.config.ledger_keys import Reach, place
from router.settings import Strict, Text


class VaultSecrets(Reach):
    """The key-value engine (version 2) of HashiCorp Vault or OpenBao. The token needs `read` on `MOUNT/data/PATH` of each secret."""

    mount: Annotated[Text, AfterValidator(place)] = Field(default="secret", description="Where the key-value engine is mounted.")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.token.vault is not None:
            raise ValueError("needs a 'token' that is not in the vault itself: write `${NAME}` or `{file: path}`")
        return self


class SecretsConfig(Strict):
    vault: VaultSecrets | None = Field(
        default=None,
        description="The vault that `{vault: PATH, field: NAME}` means wherever a secret is written. Read at the start and at each reload.",
    )
