"""Redis goes away, hangs, comes back, fails over, refuses: requests are never held up, and what is said of it is right."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.local_limits import LocalLimits
from adapters.redis_state.limits import RedisAllowances
from adapters.redis_state.names import Names
from adapters.redis_state.quotas import RedisQuotas
from adapters.redis_state.repeats import RedisRepeats
from adapters.redis_state.state import RedisState
from router.config.shared_state import RedisSettings
from router.decision import Subject
from router.errors import RefusedError, StateError
from router.identity.rate_limit import LimitRule, RateLimiter
from router.limiting import Limit, Limiting
from router.ports import Draw, Quota, Turn
from router.system import SystemClock
from tests import redis_server
from tests.redis_server import RedisServer
from tests.unit.docs.pages import page

ALICE = Subject("alice", "user", tenant="halden", authenticated_by="jwt")
ONE = [Draw("k", 1000, 1000)]


class Heard:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.healthy: list[bool] = []

    def state_asked(self, result: str) -> None:
        self.asked.append(result)

    def state_health(self, healthy: bool) -> None:
        self.healthy.append(healthy)


@pytest.fixture
def own_redis() -> Any:
    with redis_server.running() as server:
        yield server


@asynccontextmanager
async def opened(heard: Heard | None = None, root: Path = Path(), patience: float = 0.1, **settings: Any) -> AsyncIterator[RedisState]:
    """As configured, with a pause between attempts that a test can wait for. `patience`: seconds for an answer."""
    configured = RedisSettings.model_validate({"retry": "50ms", **settings}).model_copy(update={"timeout": patience})
    state = RedisState(configured, root, heard or Heard())
    await state.open()
    try:
        yield state
    finally:
        await state.close()


async def failure(state: RedisState) -> str:
    with pytest.raises(StateError) as caught:
        await RedisAllowances(state).draw(ONE)
    return caught.value.code


async def until(question: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not question():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


def limiter(state: RedisState, *, deny: bool, burst: float = 3) -> RateLimiter:
    own = LocalLimits(0.001, burst, SystemClock())
    return RateLimiter([LimitRule("subject", Limit("each", 0.001, burst, own))], Limiting(RedisAllowances(state), deny=deny))


async def test_a_server_that_was_killed_is_found_again(own_redis: RedisServer) -> None:
    """Until then nobody waits: there is no connection, which is known without asking."""
    heard = Heard()
    async with opened(heard, server=own_redis.address) as state:
        assert await RedisAllowances(state).draw(ONE) is None
        own_redis.signal(signal.SIGKILL)
        await until(lambda: state.problem is not None, "the loss is noticed")
        assert await failure(state) == "shared_state_unavailable"
        own_redis.start()
        await until(lambda: state.problem is None, "the server is found again")
        assert await RedisAllowances(state).draw(ONE) is None  # its scripts are gone, and are sent again
    assert heard.asked == ["answered", "shared_state_unavailable", "answered"]
    assert heard.healthy[0] is True
    assert heard.healthy[-1] is True
    assert False in heard.healthy


async def test_a_server_that_hangs_is_given_up_after_a_few(own_redis: RedisServer) -> None:
    """Each of the first few waits its time-out, and no longer; then nobody waits until it answers again."""
    async with opened(server=own_redis.address, failures=3) as state:
        assert await RedisAllowances(state).draw(ONE) is None
        own_redis.signal(signal.SIGSTOP)
        codes = [await failure(state) for _ in range(3)]
        await until(lambda: state.problem is not None, "the connection is given up")
        assert codes == ["shared_state_late"] * 3
        assert await failure(state) == "shared_state_unavailable"
        own_redis.signal(signal.SIGCONT)
        await until(lambda: state.problem is None, "the server is found again")
        assert await RedisAllowances(state).draw(ONE) is None


async def test_a_late_answer_is_nobody_elses(own_redis: RedisServer) -> None:
    """What comes after its time is dropped; the next question gets its own answer."""
    async with opened(server=own_redis.address, failures=100) as state:
        narrow = [Draw("narrow", 0.001, 1)]
        assert await RedisAllowances(state).draw(narrow) is None
        own_redis.signal(signal.SIGSTOP)
        assert await failure(state) == "shared_state_late"
        own_redis.signal(signal.SIGCONT)
        over = await RedisAllowances(state).draw(narrow)
        assert over is not None
        assert await RedisAllowances(state).draw(ONE) is None


async def test_a_long_answer_ends_nobodys_connection(own_redis: RedisServer) -> None:
    """Longer than what the system takes at once: what is asked behind it waits for it, or is late, and the answer is kept."""
    heard = Heard()
    async with opened(heard, server=own_redis.address, failures=100) as state:
        repeats = RedisRepeats(state, b"secret")
        await repeats.end("other", "one", b"", 60)  # the server knows the script
        assert await repeats.begin("k", "f", "one", 60) == (Turn.FIRST, b"")
        keeping = asyncio.ensure_future(repeats.end("k", "one", b"x" * (8 << 20), 60))
        for _ in range(20):
            await asyncio.sleep(0)
            await asyncio.gather(RedisAllowances(state).draw(ONE), return_exceptions=True)
        await asyncio.gather(keeping, return_exceptions=True)
        name = state.names.of("repeat", "k")
        await until(lambda: own_redis.ask("HGET", name, "turn") == "answered", "the answer is kept")
    assert heard.healthy == [True]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_local_limits_take_over(own_redis: RedisServer, number: signal.Signals) -> None:
    """`on_failure.limits: local`: requests go on, and this worker's own limit holds."""
    async with opened(server=own_redis.address) as state:
        limits = limiter(state, deny=False)
        assert await limits.admit(ALICE, "1.1.1.1") is None
        own_redis.signal(number)
        answers = await asyncio.gather(*(limits.admit(ALICE, "1.1.1.1") for _ in range(200)))
        assert sum(answer is None for answer in answers) == 3
        assert await limits.admit(ALICE, "1.1.1.1") is not None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_or_nobody_is_let_in(own_redis: RedisServer, number: signal.Signals) -> None:
    """`on_failure.limits: deny`: a named refusal, and admission again when the server is back."""
    async with opened(server=own_redis.address) as state:
        limits = limiter(state, deny=True)
        assert await limits.admit(ALICE, "1.1.1.1") is None
        own_redis.signal(number)
        answers = await asyncio.gather(*(limits.admit(ALICE, "1.1.1.1") for _ in range(50)), return_exceptions=True)
        told = {(answer.code, answer.status, answer.retry_after) for answer in answers if isinstance(answer, RefusedError)}
        assert told == {("limits_unavailable", 503, 1)}
        assert len(answers) == sum(isinstance(answer, RefusedError) for answer in answers)
        if number is signal.SIGKILL:
            own_redis.start()
        else:
            own_redis.signal(signal.SIGCONT)
        await until(lambda: state.problem is None, "the server is found again")
        await limits.admit(ALICE, "1.1.1.1")


async def test_who_starts_without_a_server_serves(own_redis: RedisServer) -> None:
    """It is as if the server had gone away, and it is found when it comes."""
    own_redis.stop()
    async with opened(server=own_redis.address) as state:
        assert await failure(state) == "shared_state_unavailable"
        own_redis.start()
        await until(lambda: state.problem is None, "the server is found")
        assert await RedisAllowances(state).draw(ONE) is None


async def test_what_is_no_redis_is_said_to_be_away() -> None:
    """A server that talks something else is given up."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server, opened(server=f"127.0.0.1:{server.sockets[0].getsockname()[1]}", connect_within="1s") as state:
        assert await failure(state) == "shared_state_unavailable"


async def test_a_full_server_is_told_apart() -> None:
    """Redis answers, and says that it has no memory."""
    with redis_server.running(maxmemory="1", maxmemory_policy="noeviction") as server:
        async with opened(server=server.address) as state:
            assert await failure(state) == "shared_state_failed"


async def test_a_user_has_few_rights_and_they_suffice() -> None:
    """The user of the page can do everything that is asked; another is told apart from an absent server."""
    line = next(line for line in page("shared-state.md").splitlines() if line.startswith("user lockgate "))
    with redis_server.running() as server:
        server.ask("ACL", "SETUSER", *line.replace("PASSWORD", "secret").split()[1:])
        server.ask("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+ping", "+evalsha", "+eval")
        async with opened(server=server.address, username="lockgate", password="secret") as state:
            assert await RedisAllowances(state).draw(ONE) is None
            assert await RedisQuotas(state).take([Quota("k", 1, 60)]) is None
            assert await RedisQuotas(state).take([Quota("k", 1, 60)]) is not None
            repeats = RedisRepeats(state, b"secret")
            await repeats.begin("k", "f", "one", 60)
            await repeats.release("k", "one")
            await repeats.begin("k", "f", "one", 60)
            await repeats.end("k", "one", b"answer", 60)
            assert await repeats.begin("k", "f", "two", 60) == (Turn.ANSWERED, b"answer")
        async with opened(server=server.address, username="reader", password="secret") as state:
            assert await failure(state) == "shared_state_denied"
        async with opened(server=server.address, username="lockgate", password="wrong") as state:
            assert await failure(state) == "shared_state_denied"


async def test_a_password_is_exchanged_without_a_reload(tmp_path: Path) -> None:
    """The file is read at each login; one that is missing is a login that fails, and no end of the attempts."""
    secret = tmp_path / "secret"
    secret.write_text("first\n")
    with redis_server.running(requirepass="first") as server:
        async with opened(root=tmp_path, server=server.address, password={"file": "secret"}) as state:
            assert await RedisAllowances(state).draw(ONE) is None
            secret.unlink()
            server.stop()
            server.settings["requirepass"] = "second"
            server.start()
            await until(lambda: state.problem == "shared_state_denied", "the login failed")
            secret.write_text("second\n")
            await until(lambda: state.problem is None, "the login went through")
            assert await RedisAllowances(state).draw(ONE) is None


async def test_names_are_digests_by_the_key() -> None:
    """Nodes with the same key name callers alike; without it nobody does."""
    names = [Names("p", key).of("limit", "subject:alice") for key in (b"", b"one", b"one", b"two")]
    assert names[1] == names[2]
    assert len(set(names)) == 3
    assert all(name.startswith("p:limit:") and "alice" not in name for name in names)


async def test_a_slow_start_holds_no_worker_up() -> None:
    """A cluster whose nodes take long to be away is looked for beside what starts."""
    with redis_server.running() as server:
        server.signal(signal.SIGSTOP)
        async with opened(cluster=[str(server.address)] * 50, connect_within="100ms") as state:
            assert await failure(state) == "shared_state_unavailable"
        server.signal(signal.SIGCONT)


async def test_a_server_that_is_no_cluster_is_told_apart() -> None:
    """It answers, but knows nothing of clusters."""
    with redis_server.running() as server:
        async with opened(cluster=[str(server.address)]) as state:
            assert await failure(state) == "shared_state_unavailable"
            assert state.problem is not None


async def test_a_server_that_hangs_is_noticed_while_nobody_asks(own_redis: RedisServer) -> None:
    """So the first request after a quiet night does not find out for all others."""
    async with opened(server=own_redis.address) as state:
        own_redis.signal(signal.SIGSTOP)
        await until(lambda: state.problem == "shared_state_unavailable", "the silence is noticed")
        own_redis.signal(signal.SIGCONT)
        await until(lambda: state.problem is None, "the server is found again")
