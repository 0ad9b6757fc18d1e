"""Identity that cannot be built leaves nothing running."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from router.config import IdentityConfig, JwtIssuer
from router.errors import ConfigError
from router.system import SystemClock
from router.wiring.identity import make_identity


async def test_a_failed_build_ends_what_it_began(tmp_path: Path) -> None:
    """A reload that is refused must not leave a key fetcher behind each time."""
    issuer = JwtIssuer.model_validate({"issuer": "https://a", "audience": ["b"], "jwks": {"url": "http://127.0.0.1:9/keys"}})
    identity = IdentityConfig(api_keys=True).model_copy(update={"jwt": (issuer, issuer)})
    workspace = SimpleNamespace(
        config=SimpleNamespace(identity=identity, state="state", nodes=None),
        node_store=None,
        root=tmp_path,
        path=lambda name: tmp_path / name,
    )
    with pytest.raises(ConfigError, match="twice"):
        await make_identity(workspace, SystemClock())  # type: ignore[arg-type]  # as much of a workspace as identity looks at
    assert asyncio.all_tasks() == {asyncio.current_task()}
