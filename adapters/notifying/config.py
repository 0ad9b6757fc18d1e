"""Settings that channels over HTTP have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from adapters.http_upstream.config import Tls
from adapters.webhook.endpoint import checked
from router.secret import Secret
from router.settings import Bool, Network, Span, Strict


class PostConfig(Strict):
    url: Secret = Field(
        description="Where it is posted to, `${NAME}` or `{file: PATH}`: who knows the URL of a chat's webhook may post there."
    )
    allow_networks: tuple[Network, ...] = Field(
        default=(), description="Networks that may be connected to though they are not public. Addresses that the host resolves to count."
    )
    connect: Span = Field(default=3.0, description="Longest time until the connection stands, TLS included.")
    timeout: Span = Field(default=10.0, description="Longest time for one sending.")
    insecure: Bool = Field(default=False, description="Let the URL be http.")
    tls: Tls = Field(default=Tls(), description="TLS towards the endpoint.")

    def unusable(self, root: Path) -> Iterator[str]:
        """What is wrong with a URL that is here already. Files and vaults are read when Lockgate starts."""
        if self.url.here:
            try:
                checked(self.url.reveal(root), (), insecure=self.insecure)
            except ValueError as error:
                yield f"The notifier's 'url' {error}."
