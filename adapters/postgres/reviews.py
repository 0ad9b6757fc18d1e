"""Held requests in PostgreSQL tables that several nodes share: every step is one transaction with its history row, and a compare and set.

Whoever took the last step goes on from it; once that node is gone (`members`), any other one. Two that try get one step between them: the
version that a step begins from fences. A step's records are appended by the node that took it, too, so that they are in the ledger once.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

from adapters.kept_deliveries import tenant_text
from adapters.kept_reviews import KeptReviews, held_from, stepped_from, terms_of
from adapters.postgres.connection import BoundedConnection, Server
from adapters.postgres.kept_tables import KeptTables
from adapters.postgres.members import ALIVE, PostgresMembers
from adapters.postgres.schema import SHARED, SHARED_STEPS
from router.errors import ReviewError
from router.ports import Change, Entry, Held, Review, Stepped

T = TypeVar("T")
_REVIEW = "SELECT place, id, state, terms, sealed, reply FROM reviews"
_BARE = "SELECT place, id, state, terms, ''::bytea, ''::bytea FROM reviews"
_INSERT = "INSERT INTO reviews (id, state, version, expires_ns, due_ns, terms, sealed) VALUES (%s, %s, 1, %s, %s, %s, %b)"
_FOLLOWING = "UPDATE reviews SET expires_ns = %s, terms = %s, sealed = %b WHERE id = %s"
_CHANGE = (
    "UPDATE reviews SET state = %(after)s, version = version + 1, sealed = CASE WHEN %(forget)s THEN ''::bytea ELSE sealed END,"
    " reply = CASE WHEN length(%(reply)b::bytea) > 0 THEN %(reply)b ELSE reply END, due_ns = %(due)s"
    " WHERE id = %(id)s AND version = %(version)s AND state = %(before)s RETURNING place"
)
_ALIVE = ALIVE.format(node="review_steps.node")
_TAKE = f"UPDATE review_steps SET node = %s WHERE NOT recorded AND node <> %s AND NOT {_ALIVE}"  # noqa: S608  # a constant
_ELSEWHERE = f"SELECT 1 FROM review_steps WHERE id = %s AND NOT recorded AND node <> %s AND {_ALIVE} LIMIT 1"  # noqa: S608  # the same
_TAKEN = "SELECT s.at_ns, s.id FROM review_steps s WHERE (s.at_ns, s.id) > (%s, %s) AND s.at_ns < %s AND s.event = ANY(%s)"
_THEIRS = " AND EXISTS (SELECT 1 FROM reviews WHERE reviews.id = s.id AND strpos(terms, %s) > 0)"
_STEPS = (
    "SELECT s.id, s.event, s.at_ns, e.key_id FROM review_steps s LEFT JOIN review_entries e ON e.id = s.id AND e.number = s.number"
    " AND e.part = 0 WHERE s.id = ANY(%s) ORDER BY s.id, s.number"
)
_LIVING = "SELECT node FROM members WHERE until > clock_timestamp()"


class ReviewTables(KeptTables):
    """The blocking core; one thread at a time. Everything may be asked again after its answer was lost."""

    part = (SHARED, SHARED_STEPS)

    def __init__(self, server: Server, members: PostgresMembers, patience: float = 5.0) -> None:
        super().__init__(server, patience)
        self._members = members

    def closed(self) -> ReviewError:
        return ReviewError("The review store is not open.", "review_store_closed")

    def add(self, held: Held, change: Change, due_ns: int) -> None:
        def added(connection: BoundedConnection) -> None:
            with connection.transaction():
                # One at a time, so that who has read a page has read all places before its last.
                connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"lockgate reviews {self._server.schema}",))
                known = connection.rows("SELECT terms FROM reviews WHERE id = %s", (held.decision_id,))
                if not known:
                    row = (held.decision_id, change.after, held.expires_ns, due_ns, terms_of(held), held.sealed)
                    connection.execute(_INSERT, row)
                    self._note(connection, held.decision_id, 0, change)
                elif json.loads(known[0][0])["content_digest"] != held.content_digest:
                    raise ReviewError("Another request is already held under this decision.", "review_conflict")

        self._run(added)

    def get(self, decision_id: str) -> Review | None:
        found = self._reviews(f"{_REVIEW} WHERE id = %s", (decision_id,))
        return found[0][1] if found else None

    def page(self, states: Sequence[str], after: int, limit: int, tenant: str | None) -> list[tuple[int, Review]]:
        wanted = " AND state = ANY(%s)" if states else ""
        wanted += " AND strpos(terms, %s) > 0" if tenant is not None else ""
        parameters = (
            after,
            *([list(states)] if states else []),
            *([] if tenant is None else [f'"tenant": {tenant_text(tenant)}']),
            limit,
        )
        # Not every name is one that the database's JSON could hold, so its text is looked for, and the name compared here.
        found = self._reviews(f"{_BARE} WHERE place > %s{wanted} ORDER BY place LIMIT %s", parameters)
        return [each for each in found if tenant is None or each[1].held.tenant == tenant]

    def change(self, decision_id: str, version: int, change: Change, forget: bool, reply: bytes, held: Held | None, due_ns: int) -> bool:
        named = {
            "id": decision_id,
            "version": version,
            "before": change.before,
            "after": change.after,
            "forget": forget,
            "reply": reply,
            "due": due_ns,
        }

        def changed(connection: BoundedConnection) -> bool:
            with connection.transaction():
                if not connection.rows(_CHANGE, named):  # type: ignore[arg-type]
                    return self._was_ours(connection, decision_id, version, change)
                if held is not None:
                    sealed = b"" if forget else held.sealed
                    connection.execute(_FOLLOWING, (held.expires_ns, terms_of(held), sealed, decision_id))
                self._note(connection, decision_id, version, change)
                return True

        return self._run(changed)

    def unrecorded(self) -> list[tuple[str, int, Change]]:
        def found(connection: BoundedConnection) -> list[tuple[str, int, Change]]:
            node = self._members.node
            if self._members.may_take_over():
                connection.execute(_TAKE, (node, node))
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                steps = self._steps(connection, "NOT recorded AND node = %s ORDER BY at_ns, id, number", (node,))
            return [(decision_id, number, change) for decision_id, number, change, _ in steps]

        return self._run(found)

    def elsewhere(self, decision_id: str) -> bool:
        return bool(self._run(lambda connection: connection.rows(_ELSEWHERE, (decision_id, self._members.node))))

    def recorded(self, decision_id: str, number: int) -> None:
        statement = "UPDATE review_steps SET recorded = true WHERE id = %s AND number = %s"
        self._run(lambda connection: connection.execute(statement, (decision_id, number)))

    def due(self, now_ns: int, states: Sequence[str]) -> list[str]:
        statement = "SELECT id FROM reviews WHERE state = ANY(%s) AND due_ns <= %s"
        return [row[0] for row in self._run(lambda connection: connection.rows(statement, (list(states), now_ns)))]

    def count(self, states: Sequence[str]) -> int:
        statement = "SELECT count(*) FROM reviews WHERE state = ANY(%s)"
        found = self._run(lambda connection: connection.rows(statement, (list(states),)))
        return int(found[0][0])

    def versions(self, decision_ids: Sequence[str]) -> dict[str, int]:
        statement = "SELECT id, version FROM reviews WHERE id = ANY(%s)"
        return dict(self._run(lambda connection: connection.rows(statement, (list(decision_ids),))))

    def stepped(self, events: Sequence[str], since_ns: int, after: str, until_ns: int, limit: int, tenant: str | None) -> list[Stepped]:
        # Only the held request itself has these two beside each other, and within a text quotes are escaped.
        theirs = [] if tenant is None else [f'"tenant": {tenant_text(tenant)}, "subject_key_id": ']
        wanted = f"{_TAKEN}{_THEIRS if theirs else ''} ORDER BY s.at_ns, s.id LIMIT %s"

        def read(connection: BoundedConnection) -> list[Stepped]:
            places = connection.rows(wanted, (since_ns, after, until_ns, list(events), *theirs, limit))
            return stepped_from(places, connection.rows(_STEPS, (list({row[1] for row in places}),)))

        return self._run(read)

    def forget_replies(self, event: str, before_ns: int) -> int:
        statement = (
            "UPDATE reviews SET reply = '' WHERE length(reply) > 0 AND EXISTS"
            " (SELECT 1 FROM review_steps WHERE review_steps.id = reviews.id AND event = %s AND at_ns < %s) RETURNING place"
        )
        return len(self._run(lambda connection: connection.rows(statement, (event, before_ns))))

    def _was_ours(self, connection: BoundedConnection, decision_id: str, version: int, change: Change) -> bool:
        """Whether this very step was taken when it was asked for before, and only the answer was lost."""
        kept = connection.rows("SELECT event, at_ns, node FROM review_steps WHERE id = %s AND number = %s", (decision_id, version))
        return kept == [(change.event, change.at_ns, self._members.node)]

    def _note(self, connection: BoundedConnection, decision_id: str, number: int, change: Change) -> None:
        step = (decision_id, number, change.event, change.before, change.after, change.at_ns, change.recorded, self._members.node)
        connection.execute("INSERT INTO review_steps VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", step)
        for part, entry in enumerate(change.entries):
            row = (decision_id, number, part, entry.leaf, entry.sealed, entry.key_id)
            connection.execute("INSERT INTO review_entries VALUES (%s, %s, %s, %b, %b, %s)", row)

    def _reviews(self, statement: str, parameters: Sequence[Any]) -> list[tuple[int, Review]]:
        """As they were at one moment."""

        def found(connection: BoundedConnection) -> list[tuple[int, Review]]:
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                rows = connection.rows(statement, parameters)
                steps = self._steps(connection, "id = ANY(%s) ORDER BY id, number", ([row[1] for row in rows],))
                living = {row[0] for row in connection.rows(_LIVING)} if self._members.may_take_over() else None
            histories: dict[str, list[tuple[Change, str]]] = defaultdict(list)
            for decision_id, _, change, node in steps:
                histories[decision_id].append((change, node))
            return [(row[0], self._review(row, histories[row[1]], living)) for row in rows]

        return self._run(found)

    def _review(self, row: Any, steps: list[tuple[Change, str]], living: set[str] | None) -> Review:
        """`living`: None while this node cannot tell who lives; then everybody does."""
        _, decision_id, state, terms, sealed, reply = row
        last = steps[-1][1] if steps else ""
        elsewhere = last != self._members.node and (living is None or last in living)
        held = held_from(terms, sealed, decision_id, f"the schema {self._server.schema} of {self._server}")
        return Review(held, state, tuple(change for change, _ in steps), reply, elsewhere)

    def _steps(self, connection: BoundedConnection, condition: str, parameters: Sequence[Any]) -> list[tuple[str, int, Change, str]]:
        found = connection.rows(
            f"SELECT id, number, event, before, after, at_ns, recorded, node FROM review_steps WHERE {condition}",  # noqa: S608  # constants
            parameters,
        )
        entries: dict[tuple[str, int], list[Entry]] = defaultdict(list)
        ids = list({row[0] for row in found})
        for decision_id, number, *parts in connection.rows(
            "SELECT id, number, leaf, sealed, key_id FROM review_entries WHERE id = ANY(%s) ORDER BY id, number, part", (ids,)
        ):
            entries[decision_id, number].append(Entry(*parts))
        return [(row[0], row[1], Change(row[2], row[3], row[4], row[5], tuple(entries[row[0], row[1]]), row[6]), row[7]) for row in found]


class PostgresReviews(KeptReviews):
    """Of several nodes."""

    def __init__(self, server: Server, members: PostgresMembers, patience: float = 5.0) -> None:
        super().__init__(ReviewTables(server, members, patience))
