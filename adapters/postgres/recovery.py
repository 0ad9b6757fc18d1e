"""A new ledger in the place of one that must not be continued: made aside, and put in its place in one transaction.

Only the ledger's own tables change places. What lies beside its records, the subjects' keys, and what nodes share, stay, also where they
are in the same schema.
"""

from __future__ import annotations

from dataclasses import replace

import psycopg

from adapters.postgres.connection import BoundedConnection, Server, connect, translated
from adapters.postgres.deliveries import TENANTS
from router.errors import AuditError

TABLES = (
    "records",
    "leaf_hashes",
    "nodes",
    "commits",
    "checkpoints",
    "cosigned",
    "barred",
    "signers",
    "order_turns",
    "turn",
)
BESIDE = ("arrivals", "deliveries")
"""They stay: events that were decided are not decided again, and what waits still goes out, perhaps a second time under its id."""
META = ("origin", "verifier", "ledger_format")
LONGEST_NAME = 63
LOCK_S = 5.0
"""How long one waits for who reads the tables."""


def aside(server: Server) -> Server:
    """Where the new ledger is made. What an earlier try left there is removed. Raises AuditError."""
    made = replace(server, schema=f"{server.schema[: LONGEST_NAME - 4]}_new")
    connection = connect(server)
    try:
        connection.execute(f'DROP SCHEMA IF EXISTS "{made.schema}" CASCADE')
    except psycopg.Error as error:
        raise translated(server, error) from error
    finally:
        connection.close()
    return made


def put_in_place(server: Server, new: Server, name: str) -> str:
    """The schema in which the old ledger is from then on. Either all of this has happened or nothing. Raises AuditError."""
    kept = f"{server.schema[: LONGEST_NAME - 1 - len(name)]}_{name}"
    connection = connect(server)
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = {round(LOCK_S * 1000)}")
            connection.execute("LOCK TABLE turn IN ACCESS EXCLUSIVE MODE")  # nobody's batch is under way
            connection.execute(f'CREATE SCHEMA "{kept}"')
            connection.execute(f'CREATE TABLE "{kept}".meta (LIKE meta INCLUDING ALL)')
            connection.execute(f'INSERT INTO "{kept}".meta SELECT * FROM meta WHERE name = ANY(%s)', (list(META),))  # noqa: S608 - names of ours
            for table in TABLES:
                _move(connection, table, server.schema, kept)
                _move(connection, table, new.schema, server.schema)
            for table in BESIDE:
                if connection.rows("SELECT to_regclass(%s)::text", (f'"{server.schema}".{table}',))[0][0] is None:
                    _move(connection, table, new.schema, server.schema)  # the old ledger was of a release without it
            for step in TENANTS:  # what stays may be as an earlier release made it
                connection.execute(step)
            connection.execute("DELETE FROM meta WHERE name = ANY(%s)", (list(META),))
            connection.execute(f'INSERT INTO meta SELECT * FROM "{new.schema}".meta WHERE name = ANY(%s)', (list(META),))  # noqa: S608 - names of ours
            connection.execute(f'DROP SCHEMA "{new.schema}" CASCADE')
    except psycopg.errors.LockNotAvailable as error:
        message = f"The tables in {server} are in use, perhaps by an export, a backup or a node; end that, and give the command again."
        raise AuditError(message, "audit_being_read") from error
    except psycopg.Error as error:
        raise translated(server, error) from error
    finally:
        connection.close()
    return kept


def _move(connection: BoundedConnection, table: str, before: str, after: str) -> None:
    connection.execute(f'ALTER TABLE "{before}".{table} SET SCHEMA "{after}"')
