"""Connections to a PostgreSQL server: every answer has a deadline, durability is looked at before anything relies on it, and the client
library's exceptions become ours here and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from router.errors import AuditError, ConfigError

logging.getLogger("psycopg").setLevel(logging.ERROR)  # a lost connection is told in our words, once

UNAVAILABLE = "audit_store_unavailable"
UNSETTLED = "audit_unsettled"
UNSAFE = "audit_store_unsafe"
DENIED = "audit_store_denied"
MISSING = "audit_missing"
DISK_FULL = "audit_disk_full"

LOCAL = ("", "localhost", "127.0.0.1", "::1")
AUTHENTICATED = ("verify-ca", "verify-full")
DURABLE = ("on", "remote_apply")
TURN_S = 2.0
"""How long the server lets a node do nothing in the middle of its turn: many times what a batch needs, and short for those who wait."""
_LONGEST_TRANSACTION = "SELECT set_config(name, '60s', false) FROM pg_settings WHERE name = 'transaction_timeout'"
"""The same for a node that stops while it sends; from PostgreSQL 17 on, which has such a limit."""
_LOST = ("57P01", "57P02", "57P03", "57P05", "25P03", "25P04")  # the server ends, or has ended, this session
_AGAIN = ("40001", "40P01")  # serialisation failure, deadlock: rolled back, and another attempt may succeed


@dataclass(frozen=True, slots=True)
class Server:
    """`url` may hold a password and is not shown. `connect_within` and `answer_within` are seconds."""

    url: str = field(repr=False)
    schema: str = "lockgate"
    connect_within: float = 3.0
    answer_within: float = 10.0

    def __str__(self) -> str:
        """Where it is, for people: no user, no password."""
        parts = conninfo_to_dict(self.url)
        hosts, ports = str(parts.get("host", "")).split(","), str(parts.get("port", "")).split(",")
        names = [f"{host or 'this machine'}{':' + port if port else ''}" for host, port in zip(hosts, ports * len(hosts), strict=False)]
        return f"the database {parts.get('dbname') or parts.get('user') or 'postgres'} at {', '.join(names)}"


def check_url(url: str) -> None:
    """Raises ConfigError, without the URL, when it is none, or when another machine would not have to prove who it is."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise ConfigError("The secret must be a URL such as postgresql://user@host/database.")
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ConfigError("The secret is not a PostgreSQL URL that can be read.") from None
    if "service" in parts:
        raise ConfigError("The URL must name the server itself and not a service file.")
    hosts = [host for name in ("host", "hostaddr") for host in str(parts.get(name, "")).split(",")]
    if any(host not in LOCAL and not host.startswith("/") for host in hosts) and parts.get("sslmode") not in AUTHENTICATED:
        raise ConfigError("The URL names another machine and must say sslmode=verify-full (or verify-ca).")


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """No answer later than `answer_within`: the connection is then closed, and what was asked may or may not have been done. `warned`
    is the last warning that the server gave."""

    answer_within = 10.0
    warned = ""

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self.answer_within if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if error.sqlstate is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()  # an answer that is still to come must not be taken for that of the next question
            raise

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.execute(sql, parameters, binary=True).fetchall()


def connect(server: Server, *, read_only: bool = False) -> BoundedConnection:
    """A session that commits durably, in the server's schema. Raises AuditError: unavailable, denied, or unsafe where a commit would not
    be durable or the server is a standby that cannot be written to; who only reads may read there."""
    try:
        made = BoundedConnection.connect(server.url, autocommit=True, connect_timeout=max(1, round(server.connect_within)))
    except psycopg.Error as error:
        raise translated(server, error) from error
    made.answer_within = server.answer_within
    made.add_notice_handler(lambda notice: _note(made, notice))
    try:
        made.execute(_session(server, read_only))
        if not read_only:
            _check_durable(server, made)
    except psycopg.Error as error:
        made.close()
        raise translated(server, error) from error
    except AuditError:
        made.close()
        raise
    return made


def _note(connection: BoundedConnection, notice: psycopg.errors.Diagnostic) -> None:
    if notice.severity_nonlocalized == "WARNING":
        connection.warned = notice.message_primary or "a warning without words"


def _session(server: Server, read_only: bool) -> str:
    """A statement time-out would also cut a commit short that waits for its standby, and report success. A node that stops in the middle of
    its turn must not hold up the others: then the server ends its transaction."""
    lock_ms, turn_ms = round(server.answer_within * 800), round(min(TURN_S, server.answer_within) * 1000)
    return "; ".join(
        (
            f'SET search_path = "{server.schema}"',  # nothing beside it: a table that cannot be made there must not be made elsewhere
            "SET client_min_messages = warning",
            "SET statement_timeout = 0",
            f"SET lock_timeout = {lock_ms}",
            f"SET idle_in_transaction_session_timeout = {turn_ms}",
            "SET default_transaction_isolation = 'read committed'",
            f"SET default_transaction_read_only = {'on' if read_only else 'off'}",
            _LONGEST_TRANSACTION,
        )
    )


def _check_durable(server: Server, connection: BoundedConnection) -> None:
    names = ("synchronous_commit", "fsync", "full_page_writes")
    (row,) = connection.rows("SELECT current_setting(%s), current_setting(%s), current_setting(%s), pg_is_in_recovery()", names)
    commit, fsync, pages, standby = row
    if standby:
        raise AuditError(f"{_capital(server)} is a standby and cannot be written to.", UNAVAILABLE)
    for name, value, wanted in ((names[0], commit, DURABLE), (names[1], fsync, ("on",)), (names[2], pages, ("on",))):
        if value not in wanted:
            raise AuditError(f"{_capital(server)} has {name} = {value}, so that a commit may be lost; it must be {wanted[0]}.", UNSAFE)
    connection.execute(f"SET synchronous_commit = {commit}")


def certain(error: psycopg.Error, connection: BoundedConnection) -> bool:
    """Whether the server itself said that it did not do it: then it is rolled back. Otherwise nobody knows yet."""
    return error.sqlstate is not None and not is_lost(error) and not connection.closed


def is_lost(error: psycopg.Error) -> bool:
    """Whether the session is over, so that another one may do better."""
    return error.sqlstate is None or error.sqlstate in _LOST or error.sqlstate.startswith("08")


def may_succeed_again(error: psycopg.Error) -> bool:
    return error.sqlstate in _AGAIN


def translated(server: Server, error: psycopg.Error) -> AuditError:
    state, detail = error.sqlstate or "", _first_line(error)
    if state == "53100":
        return AuditError(f"The disk under {server} is full; nothing was written.", DISK_FULL)
    if state == "42501" or state.startswith("28"):
        return AuditError(f"{_capital(server)} does not allow it: {detail}.", DENIED)
    if state in ("3D000", "3F000", "42P01"):
        return AuditError(f"There is no ledger in {server}: {detail}.", MISSING)
    if state == "55P03":
        return AuditError(f"Another node of {server} has had its turn for too long, or a standby does not answer.", UNAVAILABLE)
    return AuditError(f"{_capital(server)} cannot be used: {detail}.", UNAVAILABLE)


def _first_line(error: psycopg.Error) -> str:
    return (error.diag.message_primary or str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".")


def _capital(server: Server) -> str:
    return f"T{str(server)[1:]}"
