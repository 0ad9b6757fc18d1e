"""What a node's user may do with the tables, by whoever owns them. A test holds docs/postgres.md and docs/many-nodes.md to it.

To grant again changes nothing, and nothing is taken away: what an administrator granted beside it stays.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg.sql import SQL, Identifier

from adapters.postgres.connection import BoundedConnection, Server, connect, translated
from router.errors import AuditError

Grants = Sequence[tuple[str, str]]
"""(privileges, tables with spaces between)"""

ADD = "SELECT, INSERT"
TAKE_AWAY = f"{ADD}, DELETE"
ALL = f"{ADD}, UPDATE, DELETE"

LEDGER_GRANTS: Grants = (
    (ADD, "meta records leaf_hashes nodes commits checkpoints cosigned barred signers order_turns"),
    ("SELECT, UPDATE", "turn"),
    (TAKE_AWAY, "arrivals"),
    (ALL, "deliveries"),
)
PRUNING_GRANTS: Grants = (("UPDATE (sealed)", "records"),)
"""Only with `audit.retention`: whoever has it can empty what is sealed, though not unnoticed."""
KEY_GRANTS: Grants = (("SELECT", "meta"), (TAKE_AWAY, "keys"), (ADD, "keys_check destroyed compared"), (ALL, "holders"))
SHARED_GRANTS: Grants = (
    ("SELECT", "meta"),
    (f"{ADD}, UPDATE (state, version, sealed, reply, terms, expires_ns, due_ns)", "reviews"),
    (f"{ADD}, UPDATE (recorded, node)", "review_steps"),
    (ADD, "review_entries"),
    (f"{TAKE_AWAY}, UPDATE (owner, leased_ns, attempts, due_ns, until_ns, made_ns, result, reason)", "review_notices"),
    (ALL, "lessons lesson_texts lesson_entries members sessions"),
    (f"{ADD}, UPDATE (revoked_ns, change)", "api_keys"),
    (TAKE_AWAY, "spent_marks envoy_reports"),
)


def grant(server: Server, role: str, grants: Grants) -> None:
    """All of it or nothing. Raises AuditError, `audit_migration_denied` where this user may not, or there is no such role."""
    connection = connect(server)
    try:
        with connection.transaction():
            _granted(connection, server, role, SQL("USAGE ON SCHEMA {}").format(Identifier(server.schema)))
            for privileges, tables in grants:
                named = SQL(", ").join(Identifier(server.schema, table) for table in tables.split())
                _granted(connection, server, role, SQL("{} ON {}").format(SQL(privileges), named))
    except psycopg.errors.UndefinedObject as error:
        message = f"There is no role '{role}' in {server} to grant anything to: make it first (CREATE ROLE)."
        raise AuditError(message, "audit_migration_denied") from error
    except psycopg.Error as error:
        raise translated(server, error) from error
    finally:
        connection.close()


def _granted(connection: BoundedConnection, server: Server, role: str, what: object) -> None:
    """PostgreSQL only warns who owns none of it."""
    connection.warned = ""
    connection.execute(SQL("GRANT {} TO {}").format(what, Identifier(role)))
    if connection.warned:
        raise AuditError(f"This user may not grant what nodes need in {server}: {connection.warned}.", "audit_migration_denied")
