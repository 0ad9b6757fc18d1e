"""API keys that all nodes share: one node's change is every node's, and who cannot ask takes none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import psycopg
import pytest

from adapters.postgres.api_keys import PostgresApiKeys
from adapters.postgres.connection import Server
from router.errors import StateError
from tests.e2e.processes import until
from tests.postgres_server import PostgresServer, running
from tests.unit.identity.parts import NOW, new_key

Open = Callable[..., PostgresApiKeys]


@pytest.fixture
def server(postgres: PostgresServer) -> Server:
    return postgres.server()


@pytest.fixture
def open_keys(server: Server) -> Iterator[Open]:
    with ExitStack() as stack:

        def opened(every: float = 0.05) -> PostgresApiKeys:
            keys = PostgresApiKeys(server, every)
            stack.callback(keys.close)
            keys.open()
            return keys

        yield opened


def test_what_one_node_does_the_others_learn_by_themselves(open_keys: Open) -> None:
    """Made on one it is found on the other; revoked on the other it is revoked on the first."""
    one, two = open_keys(), open_keys()
    key_id, _ = new_key(one)
    assert one.find(key_id) is not None
    assert until(lambda: two.find(key_id), "the other knew it") == one.find(key_id)
    assert two.revoke(key_id, NOW + 1)
    assert until(lambda: one.find(key_id).revoked_ns, "the first knew that it was revoked") == NOW + 1


def test_a_key_is_whole_after_a_restart(open_keys: Open) -> None:
    """Every field, from a process that never saw it."""
    one = open_keys()
    key_id, _ = new_key(one, "gateway", "control", expires_ns=NOW + 5)
    assert open_keys().find(key_id) == one.find(key_id)
    assert list(open_keys().all()) == [one.find(key_id)]


def test_the_first_revocation_keeps_its_time(open_keys: Open) -> None:
    """Revoking twice changes nothing, revoking nothing says so."""
    one, two = open_keys(60.0), open_keys(60.0)
    key_id, _ = new_key(one)
    assert one.revoke(key_id, NOW)
    assert two.revoke(key_id, NOW + 1)
    assert [key.revoked_ns for key in two.all()] == [NOW]
    assert not one.revoke("abcdefgh", NOW)


def test_a_taken_id_is_not_overwritten(open_keys: Open) -> None:
    """Nobody's key becomes somebody else's; asked for again after a lost answer it is the same key."""
    one, two = open_keys(), open_keys()
    key_id, _ = new_key(one)
    known = one.find(key_id)
    assert known is not None
    assert not two.add(replace(known, digest=b"\x00" * 32))
    assert two.add(known)
    assert len(one.all()) == 1


def test_who_cannot_ask_takes_no_key() -> None:
    """A key may have been revoked meanwhile: after some seconds none is taken, until the server answers again."""
    with running() as postgres:
        keys = PostgresApiKeys(postgres.server(), every=0.05, stale=0.5)
        keys.open()
        key_id, _ = new_key(keys)
        postgres.stop(at_once=True)
        until(lambda: refuses(keys, key_id), "no key was taken")
        postgres.start()
        until(lambda: not refuses(keys, key_id), "keys were taken again")
        keys.close()


def refuses(keys: PostgresApiKeys, key_id: str) -> bool:
    try:
        return keys.find(key_id) is None
    except StateError:
        return True


def test_a_server_that_lost_changes_is_read_anew(server: Server, open_keys: Open) -> None:
    """After a failover that lost a key's making, and a revocation under the number that it had: the lost key opens nothing, and the revoked
    one is known to be."""
    keys = open_keys()
    kept, _ = new_key(keys)
    lost, _ = new_key(keys)
    until(lambda: (keys._last or [None])[0] == lost, "it had seen both")
    with psycopg.connect(server.url, autocommit=True) as other:
        other.execute(f'DELETE FROM "{server.schema}".api_keys WHERE id = %s', (lost,))
    assert keys.revoke(kept, NOW)
    keys._keys[kept] = replace(keys._keys[kept], revoked_ns=None)  # as another process has it
    until(lambda: keys.find(lost) is None, "the lost one was gone")
    assert until(lambda: keys.find(kept).revoked_ns, "the other was revoked") == NOW


def test_a_closed_store_says_so_and_closes_twice(open_keys: Open) -> None:
    """Closing is idempotent; asking afterwards is a StateError."""
    keys = open_keys()
    key_id, _ = new_key(keys)
    keys.close()
    keys.close()
    with pytest.raises(StateError):
        keys.find("abcdefgh")
    keys.open()
    assert keys.find(key_id) is not None
