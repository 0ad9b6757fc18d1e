"""Workers' processes that load before they are told what to do."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator

import pytest

from router.processes.launching import Duty, Launched, Loading, told

DUTY = Duty(1, 3, ("gateway", "decide"), "127.0.0.1:9", "a")


@pytest.fixture
async def loading() -> AsyncIterator[Loading]:
    made = Loading()
    yield made
    await made.end()


class Gone:
    """A process that has ended, which nobody has noticed yet."""

    returncode = None
    pid = 0

    def kill(self) -> None:
        raise ProcessLookupError

    async def wait(self) -> int:
        return 1


def given(duty: Duty, *doors: socket.socket) -> tuple[Duty, dict[str, int]] | None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert Launched(Gone(), ours).gets(duty, [door.fileno() for door in doors])  # type: ignore[arg-type]  # only its socket is of use
        return told(theirs)


def test_a_duty_comes_with_the_sockets_of_its_doors() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gateway, socket.create_server(("127.0.0.1", 0)) as decide:
        found = given(DUTY, gateway, decide)
        assert found is not None
        duty, doors = found
        assert duty == DUTY
        names = {}
        for name, descriptor in doors.items():
            with socket.socket(fileno=descriptor) as mine:
                names[name] = mine.getsockname()
        assert names == {"gateway": gateway.getsockname(), "decide": decide.getsockname()}


def test_processes_that_a_worker_starts_have_none_of_its_sockets() -> None:
    """Who holds a door's socket keeps its port, and who holds the worker's is taken for the worker."""
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)  # as it comes to the process
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as gateway:
        assert Launched(Gone(), ours).gets(Duty(0, 1, ("gateway",)), [gateway.fileno()])  # type: ignore[arg-type]  # only its socket is of use
        found = told(theirs)
        assert found is not None
        with socket.socket(fileno=found[1]["gateway"]) as mine:
            assert [theirs.get_inheritable(), mine.get_inheritable()] == [False, False]


def test_a_node_without_open_doors_has_workers_too() -> None:
    assert given(Duty(0, 1)) == (Duty(0, 1), {})


def test_what_comes_behind_the_duty_is_left_for_who_speaks_next() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert Launched(Gone(), ours).gets(Duty(0, 1), [])  # type: ignore[arg-type]  # only its socket is of use
        ours.sendall(b"next")
        assert told(theirs) == (Duty(0, 1), {})
        assert theirs.recv(16) == b"next"


def test_nobody_says_anything_any_more() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        assert told(theirs) is None


@pytest.mark.parametrize("count", [1, 4, 9])
def test_a_duty_that_breaks_off_is_none(count: int) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall((b"\x00\x00\x00\x20" + b"\x95" * 32)[:count])
        with pytest.raises(EOFError, match="in the middle"):
            told(theirs)


async def test_who_has_begun_before_is_taken_first(loading: Loading) -> None:
    await loading.begin(2)
    begun = list(loading._idle)
    taken = await loading.take(Duty(0, 1), [])
    assert taken in begun
    assert len(loading._idle) == 1
    await end(taken)


async def test_who_has_ended_meanwhile_is_not_taken(loading: Loading) -> None:
    await loading.begin()
    (begun,) = loading._idle
    begun.process.kill()
    await begun.process.wait()
    taken = await loading.take(Duty(0, 1), [])
    assert taken.process.pid != begun.process.pid
    await end(taken)


async def test_who_ends_while_it_is_told_is_not_taken(loading: Loading) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    loading._idle.append(Launched(Gone(), ours))  # type: ignore[arg-type]  # as one whose end the loop has not seen
    taken = await loading.take(Duty(0, 1), [])
    assert isinstance(taken.process.pid, int)
    assert taken.process.pid > 0
    await end(taken)


async def test_who_is_not_needed_ends(loading: Loading) -> None:
    await loading.begin()
    (begun,) = loading._idle
    await loading.end()
    assert begun.process.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.kill(begun.process.pid, 0)


async def test_a_worker_whose_starter_is_gone_ends_by_itself(loading: Loading) -> None:
    await loading.begin()
    (begun,) = loading._idle
    begun.sock.close()
    assert await begun.process.wait() == 0


async def end(launched: Launched) -> None:
    launched.process.kill()
    await launched.process.wait()
    launched.sock.close()
