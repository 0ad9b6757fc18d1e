"""The nodes as they know each other: a row for each start of a node, renewed every few seconds, by the server's clock.

That a node lives decides only who goes on with something, never whether something may be done twice: each step of a held request is a
compare and set of its own. So a clock that jumps, at a failover for instance, can make two nodes try the same, and one of them succeed.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass
from typing import Any

from adapters.postgres.connection import BoundedConnection, Server
from adapters.postgres.schema import SHARED, SHARED_STEPS, migrate
from adapters.postgres.session import Session
from router.audit.keys.leasing import lease_clock
from router.errors import AuditError

log = logging.getLogger("lockgate.nodes")
LEASE_S = 10.0
IN_TOUCH_S = 5.0
"""How long a node must have been in touch without a pause before it takes for gone those who were not: after an outage of the server
nobody was, and the others need a moment to say that they are there."""
KEPT_S = 86_400.0
_BEAT = (
    "INSERT INTO members (node, name, started, seen, until, told)"
    " VALUES (%(node)s, %(name)s, clock_timestamp(), clock_timestamp(), clock_timestamp() + make_interval(secs => %(lease)s), %(told)s)"
    " ON CONFLICT (node) DO UPDATE SET seen = excluded.seen, until = excluded.until, told = excluded.told"
)
_PRUNE = "DELETE FROM members WHERE seen < clock_timestamp() - make_interval(secs => %s)"
_ALL = (
    "SELECT node, name, extract(epoch FROM started)::float8, extract(epoch FROM seen)::float8, until > clock_timestamp(), told"
    " FROM members ORDER BY name, started, node"
)
ALIVE = "EXISTS (SELECT 1 FROM members WHERE members.node = {node} AND members.until > clock_timestamp())"


@dataclass(frozen=True, slots=True)
class Member:
    """Times are Unix seconds by the database's clock. `told` is what the node says of itself."""

    node: str
    name: str
    started: float
    seen: float
    alive: bool
    told: dict[str, Any]


class PostgresMembers:
    """`node` is this start's own id; `lease` and `in_touch` in seconds. Blocking; any thread."""

    def __init__(self, server: Server, node: str, name: str, lease: float = LEASE_S, in_touch: float = IN_TOUCH_S) -> None:
        self.node = node
        self._server = server
        self._name = name
        self._lease = lease
        self._in_touch = in_touch
        self._session = Session(server, patience=0.0)
        self._one_at_a_time = threading.Lock()
        self._last: float | None = None
        self._since = 0.0

    def open(self, told: dict[str, Any]) -> None:
        """Makes the tables where they are missing. Raises AuditError."""
        with self._one_at_a_time:
            self._session.run(lambda connection: migrate(connection, self._server, SHARED, SHARED_STEPS))
        self.beat(told)

    def beat(self, told: dict[str, Any]) -> None:
        """Says that this node is there. Raises AuditError."""
        began = lease_clock()
        named = {"node": self.node, "name": self._name, "lease": self._lease, "told": json.dumps(told)}

        def said(connection: BoundedConnection) -> None:
            connection.execute(_BEAT, named)
            connection.execute(_PRUNE, (KEPT_S,))

        with self._one_at_a_time:
            self._session.run(said)
            if self._last is None or began - self._last > self._lease:
                self._since = began
            self._last = began

    def may_take_over(self) -> bool:
        """Whether what it sees of others is worth something."""
        now = lease_clock()
        return self._last is not None and now - self._last <= self._lease and now - self._since >= self._in_touch

    def all(self) -> list[Member]:
        """Raises AuditError."""
        with self._one_at_a_time:
            rows = self._session.run(lambda connection: connection.rows(_ALL))
        return [Member(row[0], row[1], row[2], row[3], row[4], json.loads(row[5])) for row in rows]

    def close(self) -> None:
        """What this node had to do is the others' at once. Twice is harmless."""
        with self._one_at_a_time:
            if self._last is not None:
                self._last = None
                try:
                    self._session.run(lambda connection: connection.execute("DELETE FROM members WHERE node = %s", (self.node,)))
                except AuditError as error:
                    log.warning("the other nodes take this one for gone after up to %g seconds: %s", self._lease, error)
            self._session.close()
