"""What `lockgate audit migrate --grant-to` grants is what the pages say, and no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters.postgres.connection import Server
from adapters.postgres.grants import LEDGER_GRANTS, grant
from adapters.postgres.place import PostgresPlace
from adapters.postgres.shared import PostgresShared
from adapters.sqlite.place import SqlitePlace
from router.errors import AuditError
from tests.postgres_server import PostgresServer
from tests.unit.docs.pages import page

HELD = """
WITH who AS (SELECT oid FROM pg_roles WHERE rolname = '{role}')
SELECT nspname || ' ' || privilege_type FROM pg_namespace, aclexplode(nspacl), who WHERE grantee = who.oid
UNION SELECT relname || ' ' || privilege_type FROM pg_class, aclexplode(relacl), who WHERE grantee = who.oid
UNION SELECT relname || '.' || attname || ' ' || privilege_type
  FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid, aclexplode(attacl), who WHERE grantee = who.oid
"""


def held(postgres: PostgresServer, role: str, database: str) -> set[str]:
    return set(postgres.sql(HELD.format(role=role.replace("'", "''")), database=database).splitlines())


def documented() -> tuple[str, str]:
    """(in the ledger's database, in the keys')"""
    (block,) = [each for each in re.findall(r"```sql\n(.*?)```", page("postgres.md"), re.S) if "in the ledger's database" in each]
    ledger, keys = block.split("-- in the keys' database")
    (nodes,) = [each for each in re.findall(r"```sql\n(.*?)```", page("many-nodes.md"), re.S) if "GRANT" in each]
    return ledger + nodes, keys


def made(postgres: PostgresServer, name: str) -> tuple[PostgresPlace, PostgresShared]:
    """Tables of everything, of nobody else."""
    postgres.sql(f"CREATE DATABASE {name}", f"CREATE DATABASE {name}_keys")
    ledger, keys = Server(postgres.url(name)), Server(postgres.url(f"{name}_keys"))
    place, shared = PostgresPlace(ledger, keys), PostgresShared(ledger)
    place.migrate()
    shared.migrate()
    return place, shared


def test_what_is_granted_is_what_the_pages_list(postgres: PostgresServer) -> None:
    """Privilege by privilege, column by column, in both databases; the right to empty what is sealed with retention alone. Granted again it
    is the same. A role's name is taken as it is written."""
    odd = 'Node\'s "one"'
    postgres.sql("CREATE ROLE lockgate_node", 'CREATE ROLE "Node\'s ""one"""')
    made(postgres, "told")
    for name, statements in zip(("told", "told_keys"), documented(), strict=True):
        postgres.sql(statements, database=name)
    place, shared = made(postgres, "granted")
    for role, pruning in ((odd, True), (odd, True), ("lockgate_node", False)):
        place.grant(role, pruning)
        shared.grant(role)
    for end in ("", "_keys"):
        wanted = held(postgres, "lockgate_node", f"told{end}")
        assert wanted
        assert held(postgres, odd, f"granted{end}") == wanted
        assert held(postgres, "lockgate_node", f"granted{end}") == wanted - {"records.sealed UPDATE"}


def test_a_role_that_is_not_there_is_named(postgres: PostgresServer) -> None:
    """Nothing is granted to somebody else in its place; PUBLIC is no name of everybody."""
    place, _ = made(postgres, "nobody")
    for role in ("lockgate_nodes", "PUBLIC", 'x" WITH GRANT OPTION; --'):
        with pytest.raises(AuditError, match="There is no role") as caught:
            place.grant(role, False)
        assert caught.value.code == "audit_migration_denied"


def test_who_owns_nothing_grants_nothing(postgres: PostgresServer) -> None:
    """A warning of the server is not taken for success."""
    made(postgres, "owned")
    postgres.sql("CREATE ROLE stranger LOGIN", "CREATE ROLE friend")
    postgres.sql("GRANT USAGE ON SCHEMA lockgate TO stranger; GRANT SELECT ON ALL TABLES IN SCHEMA lockgate TO stranger", database="owned")
    with pytest.raises(AuditError) as caught:
        grant(Server(postgres.url("owned", "stranger")), "friend", LEDGER_GRANTS)
    assert caught.value.code in ("audit_migration_denied", "audit_store_denied")
    assert held(postgres, "friend", "owned") == set()


def test_files_are_granted_to_nobody(tmp_path: Path) -> None:
    """A ledger in SQLite has no users."""
    with pytest.raises(AuditError, match="PostgreSQL"):
        SqlitePlace(tmp_path).grant("lockgate_node", False)
