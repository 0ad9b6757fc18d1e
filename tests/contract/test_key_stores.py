"""What every blocking store of subjects' keys promises to who opens it without a cache, and that a store is nothing but what it says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapters.postgres.connection import Server
from adapters.postgres.subject_keys import PostgresKeys
from adapters.sqlite.subject_keys import KeyFile
from router.audit.keys.comparing import Compared
from router.audit.keys.leasing import SharedKeys
from router.audit.keys.store import SubjectKeyStore
from router.errors import AuditError
from tests.postgres_server import PostgresServer

MARK = Compared("ledger.test", 3, bytes(32))
ASKED = {
    "ensure": (["anna", "bo"],),
    "find": ("anna",),
    "key": ("00",),
    "present": (["00"],),
    "destroy": ("00",),
    "destroyed": (),
    "mark": (MARK,),
    "compared": (),
}
"""What is asked of an open store; `ensure` makes what some of the others look for."""
SHARED = {
    "newest_destroyed": (),
    "destroyed_as": (1,),
    "destroyed_after": (0,),
    "confirm": ("node", 1),
    "await_others": ("00", "node"),
    "leave": ("node",),
}
"""Of a store that several nodes share."""


@dataclass(frozen=True)
class Kind:
    """`make` makes the same store each time; `where` it is, as errors say."""

    make: Callable[[bytes], SubjectKeyStore]
    where: str


def public(made: type) -> set[str]:
    return {name for name in dir(made) if not name.startswith("_")}


@pytest.fixture
def server(postgres: PostgresServer) -> Server:
    return postgres.server()


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    if request.param == "sqlite":
        file = tmp_path / "keys.sqlite"
        return Kind(lambda sealing_key: KeyFile(file, sealing_key), str(file))
    server = request.getfixturevalue("server")
    return Kind(lambda sealing_key: PostgresKeys(server, sealing_key), f"the schema {server.schema} of {server}")


def test_a_store_that_was_closed_has_all_when_it_is_opened_again(kind: Kind) -> None:
    """Keys, what was destroyed and the mark; closing twice is harmless."""
    store = kind.make(bytes(32))
    store.open()
    made = store.ensure(["anna", "bo"])
    (anna, _), (bo, key) = made["anna"], made["bo"]
    store.destroy(anna)
    store.mark(MARK)
    store.close()
    store.close()
    for again in (store, kind.make(bytes(32))):
        again.open()
        assert (again.find("anna"), again.find("bo"), again.key(bo)) == (None, bo, key)
        assert (again.present([bo, anna]), again.destroyed(), again.compared()) == ([bo], [anna], MARK)
        again.close()


def test_a_store_that_is_not_open_says_so_whatever_it_is_asked(kind: Kind, tmp_path: Path) -> None:
    """Before it was opened and after it was closed. Nothing that is asked opens it, or makes its file."""
    store = kind.make(bytes(32))
    assert_closed(store, kind.where)
    assert list(tmp_path.iterdir()) == []
    store.open()
    store.close()
    assert_closed(store, kind.where)


def assert_closed(store: SubjectKeyStore, where: str) -> None:
    for name, arguments in ASKED.items():
        with pytest.raises(AuditError, match="not open") as refused:
            getattr(store, name)(*arguments)
        assert (name, refused.value.code) == (name, "audit_closed")
        assert where in str(refused.value)


def test_another_sealing_key_is_refused_in_words_that_name_the_store(kind: Kind) -> None:
    """When it is opened, so that no subject gets a second key."""
    store = kind.make(bytes(32))
    store.open()
    store.close()
    other = kind.make(b"x" * 32)
    with pytest.raises(AuditError) as refused:
        other.open()
    sentence = f"The sealing key is not the one that {kind.where} was made with."
    assert (refused.value.code, str(refused.value)) == ("audit_sealing_key_wrong", sentence)


@pytest.mark.parametrize("read_only", [False, True], ids=["owner", "reader"])
def test_a_store_in_a_database_leaves_no_file(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_only: bool) -> None:
    """Whatever is called of it: it has no method that could come from a file's, open one and leave it where the process was started."""
    assert public(PostgresKeys) == {"open", "close", *ASKED, *SHARED}
    monkeypatch.chdir(tmp_path)
    store = PostgresKeys(server, bytes(32))
    store.open()
    if read_only:
        store.close()
        store = PostgresKeys(server, bytes(32), read_only=True)
        store.open()
    refused = set()
    for name, arguments in (ASKED | SHARED).items():
        try:
            getattr(store, name)(*arguments)
        except AuditError:
            refused.add(name)
    store.close()
    assert refused == ({"ensure", "destroy", "mark", "confirm", "leave"} if read_only else set())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("made", "name"),
    [
        *((KeyFile, name) for name in sorted(public(SubjectKeyStore))),
        *((PostgresKeys, name) for name in sorted(public(SubjectKeyStore) | public(SharedKeys))),
    ],
)
def test_a_store_that_lacks_a_method_cannot_be_made(made: type, name: str) -> None:
    """It would be found when somebody needs it, and one that lacks a method of those that nodes share would be used without a lease."""
    port = SharedKeys if name in public(SharedKeys) else SubjectKeyStore
    lacking = type("Lacking", (made,), {name: getattr(port, name)})
    with pytest.raises(TypeError, match=rf"abstract method '?{name}"):
        lacking(Path("keys.sqlite") if made is KeyFile else Server("postgresql:///ledger"), bytes(32))


def test_nothing_of_sqlite_is_loaded_with_what_is_for_postgres() -> None:
    """Neither by the adapter nor by what it needs of the router, so that no file of keys can be made there by mistake."""
    code = (
        "import importlib, pkgutil, sys, adapters.postgres as postgres\n"
        "for each in pkgutil.iter_modules(postgres.__path__):\n"
        "    importlib.import_module(f'adapters.postgres.{each.name}')\n"
        "print(*sorted({'.'.join(name.split('.')[:2]) for name in sys.modules if name.startswith('adapters.')}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    loaded = ran.stdout.split()
    assert ("adapters.postgres" in loaded, "adapters.sqlite" in loaded) == (True, False)
