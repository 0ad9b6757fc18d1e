"""Reports of Envoy's access log on their way to the node that decided, in a PostgreSQL table without a write-ahead log: what a crash of the
server takes with it is what its nodes would have learnt, and no record."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from adapters.postgres.connection import BoundedConnection, Server
from adapters.postgres.schema import REPORT_STEPS, REPORTS, migrate
from adapters.postgres.session import Session

KEPT_S = 60.0
ANSWER_S = 2.0  # later than that an outcome does not wait for it, and who stops does not either
MOST_ROWS = 200
"""Taken in one turn; what is beyond is taken in the next."""
_ADD = "INSERT INTO envoy_reports (node, sealed) SELECT * FROM unnest(%s::text[], %s::bytea[])"
_DONE = "DELETE FROM envoy_reports WHERE number = ANY(%s) AND node = %s"
_MINE = "SELECT number, sealed FROM envoy_reports WHERE node = %s ORDER BY number LIMIT %s"
_PRUNE = "DELETE FROM envoy_reports WHERE at < clock_timestamp() - make_interval(secs => %s)"


class PostgresEnvoyReports:
    """Blocking; any thread. `kept`: seconds after which nobody is going to take a row any more. Every method raises AuditError."""

    def __init__(self, server: Server, node: str, kept: float = KEPT_S) -> None:
        self._server = server
        self._node = node
        self._kept = kept
        self._session = Session(replace(server, answer_within=min(server.answer_within, ANSWER_S)), patience=0.0)
        self._one_at_a_time = threading.Lock()
        self._taken: list[int] = []

    def open(self) -> None:
        """Makes the table where it is missing."""
        with self._one_at_a_time:
            self._session.run(lambda connection: migrate(connection, self._server, REPORTS, REPORT_STEPS))

    def exchange(self, sealed: Sequence[tuple[str, bytes]]) -> list[bytes]:
        """Leaves each for the node that it names, and takes what was left for this one. What was taken is gone with the turn after: one
        whose answer is lost is done again, and finds the same."""
        with self._one_at_a_time:
            taken = self._taken

            def turn(connection: BoundedConnection) -> list[tuple[int, bytes]]:
                with connection.transaction():
                    if taken:
                        connection.execute(_DONE, (taken, self._node))
                    if sealed:
                        connection.execute(_ADD, ([node for node, _ in sealed], [each for _, each in sealed]))
                    return connection.rows(_MINE, (self._node, MOST_ROWS))

            rows = self._session.run(turn)
            self._taken = [number for number, _ in rows]
            return [each for _, each in rows]

    def prune(self) -> None:
        """Forgets what was left for nodes that are gone."""
        with self._one_at_a_time:
            self._session.run(lambda connection: connection.execute(_PRUNE, (self._kept,)))

    def close(self) -> None:
        """Twice is harmless."""
        with self._one_at_a_time:
            self._session.close()
