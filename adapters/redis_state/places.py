"""Where a key is: on one server, on the master of a group that sentinels watch, or on one of a cluster's nodes."""

from __future__ import annotations

import asyncio
import binascii
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from adapters.redis_state.failures import LOST, UNUSABLE, MovedError
from adapters.redis_state.keeper import Keeper
from adapters.redis_state.link import Access, Link, Part, connect
from router.errors import StateError
from router.settings import Address

log = logging.getLogger("lockgate.state")
SLOTS = 16384
Told = Callable[[StateError | None], None]


class Place(Protocol):
    """`together`: whether one question may be about any keys at once."""

    together: bool

    @property
    def problem(self) -> StateError | None: ...

    async def open(self) -> None:
        """Returns when the first attempt to connect has ended, well or not."""

    async def close(self) -> None: ...

    async def ask(self, key: bytes, *command: Part, until: float) -> Any:
        """Asks the server that has `key`. Raises StateError."""


class OneServer:
    together = True

    def __init__(self, find: Callable[[], Awaitable[Link]], retry: float, told: Told) -> None:
        self._keeper = Keeper(find, retry, told)

    @property
    def problem(self) -> StateError | None:
        return self._keeper.problem

    async def open(self) -> None:
        self._keeper.start()
        await self._keeper.tried()

    async def close(self) -> None:
        await self._keeper.close()

    async def ask(self, key: bytes, *command: Part, until: float) -> Any:
        return await self._keeper.ask(*command, until=until)


async def find_master(nodes: Sequence[Address], name: str, sentinels: Access, servers: Access) -> Link:
    """Asks one sentinel after the other. What one says is believed when the server itself says that it is a master. Raises StateError."""
    faults: list[str] = []
    for node in nodes:
        try:
            return await _master(await _said(node, name, sentinels), name, servers)
        except StateError as error:
            faults.append(str(error))
    raise StateError(f"No sentinel leads to the master '{name}': {' '.join(faults)}", LOST)


async def _said(node: Address, name: str, sentinels: Access) -> Address:
    sentinel = await connect(node, sentinels)
    try:
        said = await sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name, until=_soon(sentinels))
    finally:
        sentinel.close()
    if not isinstance(said, list) or len(said) != 2:
        raise StateError(f"The sentinel at {node} does not know '{name}'.", UNUSABLE)
    return Address(said[0].decode(), int(said[1]))


async def _master(address: Address, name: str, servers: Access) -> Link:
    link = await connect(address, servers)
    try:
        role = await link.ask("ROLE", until=_soon(servers))
        if role[0] != b"master":
            raise StateError(f"Redis at {address} is no master of '{name}' now.", LOST)
    except StateError:
        link.close()
        raise
    return link


class Cluster:
    """Follows a cluster's own word of where each slot is; asked for anew when a node says that it has moved, or is gone."""

    together = False

    def __init__(self, nodes: Sequence[Address], access: Access, retry: float, told: Told) -> None:
        self._known = list(nodes)
        self._access = access
        self._retry = retry
        self._told = told
        self._slots: list[Address | None] = [None] * SLOTS
        self._masters: tuple[Address, ...] = ()  # of those slots; asked for with every request
        self._keepers: dict[Address, Keeper] = {}
        self._why = StateError("The cluster has not answered yet.", LOST)
        self._stale = asyncio.Event()
        self._tried = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    @property
    def problem(self) -> StateError | None:
        """Of any node that has slots: a part of the keys is then judged without it."""
        keepers = [self._keepers.get(address) for address in self._masters]
        if not keepers or None in keepers:
            return self._why
        return next((keeper.problem for keeper in keepers if keeper is not None and keeper.problem is not None), None)

    async def open(self) -> None:
        self._following = asyncio.create_task(self._follow())
        await self._tried.wait()

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await asyncio.gather(*(keeper.close() for keeper in self._keepers.values()))

    async def ask(self, key: bytes, *command: Part, until: float) -> Any:
        address = self._slots[slot(key)]
        if address is None:
            self._stale.set()
            raise StateError(str(self._why), self._why.code)
        try:
            return await self._at(address).ask(*command, until=until)
        except MovedError as moved:
            self._stale.set()
            keeper = self._at(moved.to)
            if moved.once:
                asking = asyncio.ensure_future(keeper.ask("ASKING", until=until))  # on the same connection, right before the question
                await asyncio.sleep(0)
                answer = await keeper.ask(*command, until=until)
                await asking
                return answer
            return await keeper.ask(*command, until=until)
        except StateError as error:
            if error.code == LOST:
                self._stale.set()
            raise

    def _at(self, address: Address) -> Keeper:
        keeper = self._keepers.get(address)
        if keeper is None:
            keeper = self._keepers[address] = Keeper(lambda: connect(address, self._access), self._retry, self._heard)
            keeper.start()
        return keeper

    def _heard(self, why: StateError | None) -> None:
        self._told(self.problem)

    async def _follow(self) -> None:
        while True:
            self._stale.clear()
            try:
                await self._learn()
            except StateError as error:
                self._unlearnt(error)
            except Exception:  # as in a keeper
                log.exception("a server did not answer as a node of a Redis cluster does")
                self._unlearnt(StateError("What answers is not a Redis cluster as we know it; the log has the details.", UNUSABLE))
            self._tried.set()
            await self._stale.wait()
            await asyncio.sleep(self._retry)

    def _unlearnt(self, why: StateError) -> None:
        self._why = why
        self._told(why)
        self._stale.set()

    async def _learn(self) -> None:
        """The first node that knows of all slots is believed, or the one that knows of most: one that was started without what it knew says
        of none. It is asked last the next time: one that the others do not reach goes on saying what was. Raises StateError when none
        knows of any."""
        faults: list[str] = []
        best: tuple[int, Address, list[tuple[int, int, Address]]] | None = None
        for node in self._known:
            try:
                found = await _slots_at(node, self._access)
            except StateError as error:
                faults.append(str(error))
                continue
            known = sum(last - first + 1 for first, last, _ in found)
            if not known:
                faults.append(f"Redis at {node} knows of no slots.")
            elif best is None or known > best[0]:
                best = known, node, found
            if known >= SLOTS:
                break
        if best is None:
            raise StateError(f"No node of the cluster answers: {' '.join(faults)}", LOST)
        await self._take_up(best[2])
        self._known = [*(each for each in self._known if each != best[1]), best[1]]

    async def _take_up(self, found: list[tuple[int, int, Address]]) -> None:
        slots: list[Address | None] = [None] * SLOTS
        for first, last, address in found:
            slots[first : last + 1] = [address] * (last - first + 1)
        addresses = {address for _, _, address in found}
        self._slots, self._masters = slots, tuple(addresses)
        self._known = [*dict.fromkeys([*addresses, *self._known])]
        for gone in [address for address in self._keepers if address not in addresses]:
            await self._keepers.pop(gone).close()
        await asyncio.gather(*(self._at(address).tried() for address in addresses))


async def _slots_at(node: Address, access: Access) -> list[tuple[int, int, Address]]:
    link = await connect(node, access)
    try:
        said = await link.ask("CLUSTER", "SLOTS", until=_soon(access))
    finally:
        link.close()
    return [(int(first), int(last), _address(master, node)) for first, last, master, *_ in said]


def _address(said: list[Any], asked: Address) -> Address:
    """A node that does not know its own name is where it was asked."""
    return Address((said[0] or b"").decode() or asked.host, int(said[1]))


def slot(key: bytes) -> int:
    """Of the part in braces alone, where there is one (Redis cluster specification, hash tags)."""
    begin = key.find(b"{")
    end = key.find(b"}", begin + 1) if begin >= 0 else -1
    return binascii.crc_hqx(key[begin + 1 : end] if end > begin + 1 else key, 0) % SLOTS


def _soon(access: Access) -> float:
    return asyncio.get_running_loop().time() + access.connect_within
