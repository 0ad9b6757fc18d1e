"""The nodes as they know each other: a row for each start of a node, renewed every few seconds, by the server's clock.

That a node lives decides only who goes on with something, never whether something may be done twice: each step of a held request is a
compare and set of its own. So a clock that jumps, at a failover for instance, can make two nodes try the same, and one of them succeed.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
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
    " ON CONFLICT (node) DO UPDATE SET seen = excluded.seen, until = excluded.until, told = CASE WHEN members.told::jsonb -> 'lost' IS NULL"
    " THEN excluded.told ELSE jsonb_set(excluded.told::jsonb, '{lost}', 'true')::text END RETURNING told::jsonb -> 'lost' IS NOT NULL"
)
# Not before it is on record that they are lost: all may have been away for longer, or their ledgers.
_PRUNE = (
    "DELETE FROM members gone WHERE seen < clock_timestamp() - make_interval(secs => %s) AND (told::jsonb -> 'lost' IS NOT NULL"
    " OR EXISTS (SELECT 1 FROM members WHERE name = gone.name AND started > gone.started))"
)
_ALL = (
    "SELECT node, name, extract(epoch FROM started)::float8, extract(epoch FROM seen)::float8, until > clock_timestamp(), told"
    " FROM members ORDER BY name, started, node"
)
# Not heard of for so long, and nobody has said so yet. Of nodes that see it one says it, the one that has been there for longest; and not
# where the node was started again under its name, which its own records tell, also when that one has ended since.
_LOST = (
    "SELECT node, name, extract(epoch FROM started)::float8, extract(epoch FROM seen)::float8, false, told FROM members gone"
    " WHERE until < clock_timestamp() AND seen < clock_timestamp() - make_interval(secs => %s) AND told::jsonb -> 'lost' IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM members WHERE name = gone.name AND started > gone.started)"
    " AND %s = (SELECT node FROM members WHERE until > clock_timestamp() ORDER BY started, node LIMIT 1) ORDER BY seen"
)
# Also of one that was heard of again since it was looked for: that it is lost is on record, and it has to say that it is not.
_TOLD_LOST = "UPDATE members SET told = jsonb_set(told::jsonb, '{lost}', 'true')::text WHERE node = %s"
# Those before it under its name that crashed. Their rows outlive its own.
_TOLD_BEFORE = (
    "UPDATE members gone SET told = jsonb_set(gone.told::jsonb, '{lost}', 'true')::text FROM members own"
    " WHERE own.node = %s AND gone.name = own.name AND gone.started < own.started AND gone.until < clock_timestamp()"
)
_GOODBYE = "DELETE FROM members WHERE node = %s"
_TOLD_BACK = "UPDATE members SET told = (told::jsonb - 'lost')::text WHERE node = %s"
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
        self._silent: dict[str, tuple[float, float]] = {}  # by node: when it was heard of last, and when that was first seen to be long ago

    def open(self, told: dict[str, Any]) -> None:
        """Makes the tables where they are missing. Raises AuditError."""
        with self._one_at_a_time:
            self._session.run(lambda connection: migrate(connection, self._server, SHARED, SHARED_STEPS))
        self.beat(told)

    def beat(self, told: dict[str, Any]) -> bool:
        """Says that this node is there, and comes to whether it is on record that it was lost, and not yet that it is back. Raises
        AuditError."""
        began = lease_clock()
        named = {"node": self.node, "name": self._name, "lease": self._lease, "told": json.dumps(told)}

        def said(connection: BoundedConnection) -> bool:
            (lost,) = connection.execute(_BEAT, named).fetchall()[0]
            connection.execute(_PRUNE, (KEPT_S,))
            return bool(lost)

        with self._one_at_a_time:
            lost = self._session.run(said)
            if self._last is None or began - self._last > self._lease:
                self._since = began
            self._last = began
        return lost

    def lost(self, after: float) -> list[Member]:
        """Those that nothing was heard of for so many seconds, nor said of, where it is this node's turn to say so. It has been in touch
        for as long itself: after an outage of the server nobody was, and the others may still wait for an answer. And it has looked twice,
        a lease apart by its own clock: who lives has said so in between, however far the server's clock has jumped. Raises AuditError."""
        if not self.may_take_over() or lease_clock() - self._since < after:
            return []
        found, now = self._read(_LOST, (after, self.node)), lease_clock()
        silent = {each.node: (each.seen, now) for each in found}
        self._silent = {node: before if (before := self._silent.get(node, at))[0] == at[0] else at for node, at in silent.items()}
        return [each for each in found if now - self._silent[each.node][1] >= self._lease]

    def told_lost(self, node: str) -> None:
        """That it is lost is on record. Raises AuditError."""
        with self._one_at_a_time:
            self._session.run(lambda connection: connection.execute(_TOLD_LOST, (node,)))

    def told_back(self) -> None:
        """That this node is back is on record. Raises AuditError."""
        with self._one_at_a_time:
            self._session.run(lambda connection: connection.execute(_TOLD_BACK, (self.node,)))

    def may_take_over(self) -> bool:
        """Whether what it sees of others is worth something."""
        now = lease_clock()
        return self._last is not None and now - self._last <= self._lease and now - self._since >= self._in_touch

    def all(self) -> list[Member]:
        """Raises AuditError."""
        return self._read(_ALL)

    def _read(self, query: str, asked: Sequence[Any] = ()) -> list[Member]:
        with self._one_at_a_time:
            rows = self._session.run(lambda connection: connection.rows(query, asked))
        return [Member(row[0], row[1], row[2], row[3], row[4], json.loads(row[5])) for row in rows]

    def close(self) -> None:
        """What this node had to do is the others' at once. Twice is harmless."""

        def left(connection: BoundedConnection) -> None:
            connection.execute(_TOLD_BEFORE, (self.node,))
            connection.execute(_GOODBYE, (self.node,))

        with self._one_at_a_time:
            if self._last is not None:
                self._last = None
                try:
                    self._session.run(left)
                except AuditError as error:
                    log.warning("the other nodes take this one for gone after up to %g seconds: %s", self._lease, error)
            self._session.close()
