from __future__ import annotations

from typing import Literal

from pydantic import Field

from router.config.blocks import AdapterBlock
from router.secret import Secret
from router.settings import Name, Span, Strict


class PostgresNodesSettings(Strict):
    """Node store adapter `postgres`. Needs `pip install 'lockgate[postgres]'`."""

    url: Secret | None = Field(
        default=None,
        description="URL of the database, `${NAME}` or `{file: PATH}`, as in `audit.store.url`; without this, the ledger's.",
    )
    schema_name: Name = Field(default="lockgate", max_length=63, description="PostgreSQL schema of the tables.")
    patience: Span = Field(default=5.0, description="How long a question waits for a server that went away.")
    connect_within: Span = Field(default=3.0, description="Longest time to connect; less than two seconds are two.")
    answer_within: Span = Field(default=10.0, description="Longest time for one answer, a commit with its wait for standbys included.")


class NodesConfig(Strict):
    """What the nodes of one ledger have in common beside it, and what they know of each other. The ledger must be in PostgreSQL."""

    store: AdapterBlock = Field(
        default=AdapterBlock(adapter="postgres"), description="Where it is: `postgres`, with that adapter's settings."
    )
    share: tuple[Literal["reviews", "api_keys"], ...] = Field(
        default=("reviews", "api_keys"),
        description="What all nodes share; the rest each node has for itself, in `state`.",
    )
