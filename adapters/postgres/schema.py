"""The tables of a ledger, of the subjects' keys and of what nodes share beside them in PostgreSQL, as numbered steps: each leads from the
format before it to its own.

A step that was released is never changed; a new format is a new step at the end. A step's statements run in one transaction, with the
number that they lead to, so that an interrupted one has not happened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg

from adapters.postgres import deliveries
from adapters.postgres.connection import DENIED, MISSING, BoundedConnection, Server, translated
from router.errors import AuditError

Steps = Mapping[int, Sequence[str]]

LEDGER_STEPS: Steps = {
    1: (
        "CREATE TABLE records (idx bigint PRIMARY KEY, leaf bytea NOT NULL, sealed bytea NOT NULL, key_id text NOT NULL)",
        # Rows of up to 8 kB stay in one piece: what is sealed cannot be compressed, and a second place for it costs a second write.
        "ALTER TABLE records ALTER sealed SET STORAGE EXTERNAL, ALTER leaf SET STORAGE EXTERNAL",
        "ALTER TABLE records SET (toast_tuple_target = 8160)",
        "CREATE TABLE leaf_hashes (idx bigint PRIMARY KEY, hash bytea NOT NULL)",
        "CREATE TABLE nodes (level smallint, idx bigint, hash bytea NOT NULL, PRIMARY KEY (level, idx))",
        # `batch` tells a node that lost its connection while it committed whether its commit is in.
        "CREATE TABLE commits (size bigint PRIMARY KEY, root bytea NOT NULL, batch bytea NOT NULL)",
        "CREATE TABLE checkpoints (size bigint PRIMARY KEY, note text NOT NULL, at_ns bigint NOT NULL)",
        # One row that never changes, so that it leaves no dead versions behind however many commits there are while somebody takes a
        # backup. Its lock is a node's turn: who has it, and nobody else, appends.
        "CREATE TABLE turn (one boolean PRIMARY KEY DEFAULT true CHECK (one))",
        "INSERT INTO turn DEFAULT VALUES",
        # What a node tells the others. Rows are added and read in turns, and the last one counts; nobody needs a right to change them.
        "CREATE TABLE barred (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key_id text NOT NULL)",
        "CREATE TABLE signers (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, verifier text NOT NULL)",
        "CREATE TABLE order_turns (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
        "CREATE TABLE cosigned (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, size bigint NOT NULL, note text NOT NULL)",
        "CREATE INDEX cosigned_size ON cosigned (size, number)",
    ),
    2: deliveries.TABLES,
    3: deliveries.TENANTS,
}
KEY_STEPS: Steps = {
    1: (
        "CREATE TABLE keys (subject bytea PRIMARY KEY, key_id text NOT NULL UNIQUE, wrapped bytea NOT NULL, created_ns bigint NOT NULL)",
        "CREATE TABLE keys_check (one boolean PRIMARY KEY DEFAULT true CHECK (one), value bytea NOT NULL)",
        # Destroyed keys by number, and up to which number each node forgot them.
        "CREATE TABLE destroyed (number bigint PRIMARY KEY, key_id text NOT NULL)",
        "CREATE TABLE holders (node text PRIMARY KEY, seen bigint NOT NULL)",
    ),
    2: (
        # Up to where of which ledger its erasures were looked after here. The last row counts; nobody needs a right to change one.
        "CREATE TABLE compared (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, origin text NOT NULL, size bigint NOT NULL,"
        " leaf bytea NOT NULL)",
    ),
}
SHARED_STEPS: Steps = {
    1: (
        # `terms` is the held request without its sealed part; places are given in the order of commits.
        "CREATE TABLE reviews (place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE, state text NOT NULL,"
        " version bigint NOT NULL, expires_ns bigint NOT NULL, terms text NOT NULL, sealed bytea NOT NULL,"
        " reply bytea NOT NULL DEFAULT '')",
        "CREATE INDEX reviews_state ON reviews (state, expires_ns)",
        # `node` took the step, and goes on from it for as long as it lives.
        "CREATE TABLE review_steps (id text, number bigint, event text NOT NULL, before text NOT NULL, after text NOT NULL,"
        " at_ns bigint NOT NULL, recorded boolean NOT NULL, node text NOT NULL, PRIMARY KEY (id, number))",
        "CREATE INDEX review_steps_unrecorded ON review_steps (at_ns) WHERE NOT recorded",
        "CREATE TABLE review_entries (id text, number bigint, part bigint, leaf bytea NOT NULL, sealed bytea NOT NULL,"
        " key_id text NOT NULL, PRIMARY KEY (id, number, part))",
        # Every change has a number, given in the order of commits, so that who has seen one has seen those before it.
        "CREATE TABLE api_keys (id text PRIMARY KEY, digest bytea NOT NULL, name text NOT NULL, subject text NOT NULL,"
        " scopes text NOT NULL, created_ns bigint NOT NULL, created_by text NOT NULL,"
        " expires_ns bigint, revoked_ns bigint, change bigint NOT NULL UNIQUE)",
        # One row for each start of a node. It lives until `until`, by this server's clock; `told` is what it says of itself, as JSON.
        "CREATE TABLE members (node text PRIMARY KEY, name text NOT NULL, started timestamptz NOT NULL, seen timestamptz NOT NULL,"
        " until timestamptz NOT NULL, told text NOT NULL)",
    ),
    2: (
        # When time makes a step due. A node of the release before does not set it: its rows are then looked at each round.
        "ALTER TABLE reviews ADD COLUMN due_ns bigint NOT NULL DEFAULT 0",
        "UPDATE reviews SET due_ns = expires_ns",
        "CREATE INDEX reviews_due ON reviews (state, due_ns)",
    ),
    3: ("CREATE INDEX review_steps_taken ON review_steps (at_ns, id, event)", "CREATE INDEX reviews_place ON reviews (state, place)"),
}
SESSION_STEPS: Steps = {
    1: (
        "CREATE TABLE sessions (digest bytea PRIMARY KEY, subject_id text NOT NULL, subject text NOT NULL, created_ns bigint NOT NULL,"
        " used_ns bigint NOT NULL, expires_ns bigint NOT NULL, checked_ns bigint NOT NULL, authenticated_ns bigint NOT NULL,"
        " issuer text NOT NULL, issuer_session text NOT NULL, methods text NOT NULL)",
        "CREATE INDEX sessions_subject ON sessions (subject_id, created_ns)",
        # What can be used once, and until when somebody might try it again.
        "CREATE TABLE spent_marks (mark bytea PRIMARY KEY, until_ns bigint NOT NULL)",
    ),
}
NOTICES_STEPS: Steps = {
    1: (
        # `result` is empty until it ended.
        "CREATE TABLE review_notices (id text PRIMARY KEY, review text NOT NULL, event text NOT NULL, notifier text NOT NULL,"
        " intent text NOT NULL, risk text NOT NULL, route text NOT NULL, expires_ns bigint NOT NULL, made_ns bigint NOT NULL,"
        " due_ns bigint NOT NULL, until_ns bigint NOT NULL, keep_ns bigint NOT NULL, attempts bigint NOT NULL,"
        " owner text NOT NULL DEFAULT '', leased_ns bigint NOT NULL DEFAULT 0, result text NOT NULL DEFAULT '',"
        " reason text NOT NULL DEFAULT '')",
        "CREATE INDEX review_notices_due ON review_notices (due_ns) WHERE result = ''",
        "CREATE INDEX review_notices_keep ON review_notices (keep_ns)",
    ),
    2: ("ALTER TABLE review_notices ADD COLUMN sealed bytea NOT NULL DEFAULT ''",),
}
LEARNING_STEPS: Steps = {
    1: (
        "CREATE TABLE lessons (place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, id text NOT NULL,"
        " about text NOT NULL, state text NOT NULL, version bigint NOT NULL, at_ns bigint NOT NULL, terms text NOT NULL,"
        " UNIQUE (kind, id))",
        "CREATE INDEX lessons_about ON lessons (kind, about)",
        "CREATE INDEX lessons_state ON lessons (kind, state)",
        "CREATE TABLE lesson_texts (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, id text NOT NULL,"
        " name text NOT NULL, key_id text NOT NULL, sealed bytea NOT NULL, UNIQUE (kind, id, name))",
        "CREATE INDEX lesson_texts_key ON lesson_texts (key_id)",
        # Gone from here once they are in the ledger.
        "CREATE TABLE lesson_entries (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, id text NOT NULL,"
        " leaf bytea NOT NULL, sealed bytea NOT NULL, key_id text NOT NULL, owner text NOT NULL, until_ns bigint NOT NULL)",
    ),
    2: ("CREATE INDEX lessons_kind ON lessons (kind, place)",),
    3: (
        # When somebody last said something of it. What a node of the release before is told meanwhile is not found by it.
        "ALTER TABLE lessons ADD COLUMN touched_ns bigint NOT NULL DEFAULT 0",
        "UPDATE lessons SET touched_ns = coalesce((SELECT max(found[1]::bigint)"
        """ FROM regexp_matches(terms, '"at_ns": ([0-9]{1,18}|[0-8][0-9]{18})[,}]', 'g') AS found), 0)"""
        """ WHERE kind IN ('label_task', 'label_seed') AND strpos(terms, '"answers": {}') = 0""",
        "CREATE INDEX lessons_touched ON lessons (kind, touched_ns, place)",
    ),
}
REPORT_STEPS: Steps = {
    1: (
        # `node` is one start of a node. Sealed, and worth nothing a minute later: not in the write-ahead log, and not on a standby.
        "CREATE UNLOGGED TABLE envoy_reports (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, node text NOT NULL,"
        " at timestamptz NOT NULL DEFAULT clock_timestamp(), sealed bytea NOT NULL)",
        "CREATE INDEX envoy_reports_node ON envoy_reports (node, number)",
    ),
}
LEDGER, KEYS, SHARED, NOTICES, SESSIONS, LEARNING = "ledger", "keys", "shared", "notices", "sessions", "learning"
REPORTS = "reports"
LONGEST_S = 3600.0
"""A step over a large table takes its time."""


def migrate(connection: BoundedConnection, server: Server, part: str, steps: Steps) -> int:
    """Brings a part to its newest format and returns the format that it had. Safe to run by several nodes at once. Raises AuditError
    `audit_format_unknown` when a newer release made it, `audit_migration_denied` when this user may not change tables."""
    found = stored_format(connection, part)
    check_known(server, part, found, max(steps))
    if found == max(steps):
        return found
    answer_within, connection.answer_within = connection.answer_within, LONGEST_S
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = 0")
            connection.execute("SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout'")
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"lockgate migration {server.schema}",))
            if not connection.rows("SELECT 1 FROM pg_namespace WHERE nspname = %s", (server.schema,)):
                connection.execute(f'CREATE SCHEMA "{server.schema}"')
            connection.execute("CREATE TABLE IF NOT EXISTS meta (name text PRIMARY KEY, value text NOT NULL)")
            found = stored_format(connection, part)  # another node may have been quicker
            check_known(server, part, found, max(steps))
            for number in range(found + 1, max(steps) + 1):
                for statement in steps[number]:
                    connection.execute(statement)
            connection.execute(
                "INSERT INTO meta VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (_row(part), str(max(steps)))
            )
    except psycopg.Error as error:
        raise _said(server, part, found, max(steps), translated(server, error)) from error
    finally:
        connection.answer_within = answer_within
    return found


def stored_format(connection: BoundedConnection, part: str) -> int:
    """0 where there is nothing yet."""
    if connection.rows("SELECT to_regclass('meta')::text")[0][0] is None:
        return 0
    found = connection.rows("SELECT value FROM meta WHERE name = %s", (_row(part),))
    return int(found[0][0]) if found else 0


def check_known(server: Server, part: str, found: int, known: int) -> None:
    if found > known:
        raise AuditError(f"The {part} in {server} has format {found}, this release knows {known}.", "audit_format_unknown")


def _row(part: str) -> str:
    return f"{part}_format"


def _said(server: Server, part: str, found: int, wanted: int, error: AuditError) -> AuditError:
    if error.code not in (DENIED, MISSING):  # a schema that may not be used looks as if it were not there
        return error
    there = (
        f"The {part} in {server} has format {found} and must be brought to {wanted}" if found else f"No {part} is to be seen in {server}"
    )
    message = f"{there}, and this user may not change that: run `lockgate audit migrate` as the owner, and grant what nodes need."
    return AuditError(message, "audit_migration_denied")
