"""The engine that asks an OPA server, and what it does when that is not as it should be. Every failure is a PolicyError with a code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from adapters.opa.server import OpaServer
from adapters.rego.embedded import load
from router.config.opa import OpaEngine
from router.decision import Effect
from router.errors import ConfigError, PolicyError
from router.secret import Secret
from router.stages.policy import judge
from router.system import SystemClock
from tests.contract.opa_sidecar import Sidecar, process, sidecar
from tests.faults.test_upstream_tls import Authority

PATIENCE_S = 60.0

ADMISSION = 'package lockgate.admission\n\nresult := {"effect": "allow"}\n'
DECISION = (
    'package lockgate.decision\n\nimport data.lockgate.lib.said\n\nresult := {"effect": "allow", "reasons": [{"code": said(input)}]}\n'
)
LIB = 'package lockgate.lib\n\nsaid(seen) := "lib.said" if not seen.other\n\nsaid(seen) := seen.other if seen.other\n'
SHIPPED = {"policies/admission.rego": ADMISSION, "policies/decision.rego": DECISION, "policies/lib.rego": LIB}
DATA = {"lockgate": {"config": {"floor": 0.7, "roles": {"clerk": ["pay"]}}}}
DENYING = 'package lockgate.intents.pay\n\nresult := {"effect": "deny"}\n'


class Seen:
    """See `ports.PolicyObserver`."""

    def __init__(self) -> None:
        self.results: list[str] = []
        self.healthy: bool | None = None

    def policy_asked(self, result: str) -> None:
        self.results.append(result)

    def policy_process(self, what: str) -> None:
        raise AssertionError("a server is no process of ours")

    def policy_health(self, healthy: bool) -> None:
        self.healthy = healthy

    def policy_compared(self, result: str) -> None:
        raise AssertionError(result)


@pytest.fixture(scope="module")
def shared() -> Iterator[Sidecar]:
    with sidecar() as started:
        yield started


@pytest.fixture
def opa(shared: Sidecar) -> Iterator[Sidecar]:
    shared.bundles({}, SHIPPED, DATA)
    yield shared
    shared.mode("")


@pytest.fixture
async def make(opa: Sidecar) -> AsyncIterator[Callable[..., OpaServer]]:
    made: list[OpaServer] = []

    def make(url: str = opa.url, deadline_s: float = 5.0, observer: Any = None, root: Path = Path(), **settings: Any) -> OpaServer:
        made.append(OpaServer(OpaEngine(url=url, **settings), root, deadline_s=deadline_s, clock=SystemClock(), observer=observer))
        return made[-1]

    yield make
    for engine in made:
        await engine.close()


@pytest.fixture
async def engine(make: Callable[..., OpaServer]) -> OpaServer:
    made = make(deadline_s=1.0, failures=3, open_for="1m")
    await made.open()
    return made


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  # what is waited for happens in another process
            await asyncio.sleep(0.02)


def evaluations(opa: Sidecar) -> list[str]:
    return [path for path in opa.asked() if "/result" in path]


async def code(engine: OpaServer, intent: str | None = None, document: dict[str, Any] | None = None) -> str:
    with pytest.raises(PolicyError) as caught:
        await engine.evaluate("decision", intent, document or {})
    return caught.value.code


async def test_the_same_policies_have_the_same_digest_as_in_the_embedded_engine(engine: OpaServer) -> None:
    """Which engine decided does not change what decided."""
    assert (await engine.evaluate("decision", None, {})).digest == load(SHIPPED, DATA).digest


async def test_opas_decision_id_is_joined_to_ours(engine: OpaServer) -> None:
    """So that its decision log and our ledger can be read side by side."""
    one, other = [(await engine.evaluate("decision", None, {})).opa_decision_id for _ in range(2)]
    assert one
    assert other
    assert one != other


async def test_builtin_errors_are_strict(opa: Sidecar, engine: OpaServer) -> None:
    """Every evaluation asks for it, and for the bundles that decide."""
    opa.asked()
    await engine.evaluate("decision", None, {})
    assert evaluations(opa) == ["/v1/data/lockgate/decision/result?strict-builtin-errors=true&provenance=true"]


async def test_connections_are_kept(make: Callable[..., OpaServer]) -> None:
    """One connection serves one question after another."""
    engine = make()
    for _ in range(5):
        await engine.evaluate("decision", None, {})
    connector: Any = engine._connection._session.connector  # type: ignore[union-attr]
    assert len(connector._conns) == 1
    assert sum(len(each) for each in connector._conns.values()) == 1


async def test_an_error_in_a_policy_is_told_by_place_and_kind(opa: Sidecar, make: Callable[..., OpaServer]) -> None:
    """And without what OPA quotes of the input."""
    opa.bundles({}, {"a.rego": 'package lockgate.decision\n\nresult := {"effect": "allow"} if to_number(input.a) > 1\n'})
    engine = make()
    with pytest.raises(PolicyError) as caught:
        await engine.evaluate("decision", None, {"a": "jane.doe"})
    assert caught.value.code == "policy_error"
    assert str(caught.value) == "Policy stopped with an error at a.rego:3: eval_builtin_error."


async def test_a_reason_code_made_from_the_request_is_refused(engine: OpaServer) -> None:
    """As by the embedded engine: codes stay in the ledger for ever."""
    assert (await engine.evaluate("decision", None, {})).reasons[0].code == "lib.said"
    assert await code(engine, document={"other": "jane.doe"}) == "policy_malformed"


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("500", "policy_unavailable"),
        ("502", "policy_unavailable"),
        ("503", "policy_unavailable"),
        ("404", "policy_unavailable"),
        ("302", "policy_unavailable"),
        ("401", "policy_unauthorized"),
        ("403", "policy_unauthorized"),
        ("hang", "policy_late"),
        ("cut", "policy_unavailable"),
        ("garbage", "policy_unavailable"),
        ("huge", "policy_unavailable"),
    ],
)
async def test_a_server_that_misbehaves_is_a_deny_and_then_left_alone(opa: Sidecar, engine: OpaServer, mode: str, expected: str) -> None:
    """Within the deadline; after `failures` in a row it is not asked."""
    opa.mode(mode)
    async with asyncio.timeout(PATIENCE_S):
        assert [await code(engine) for _ in range(4)] == [expected] * 3 + ["policy_circuit_open"]
    verdict = await judge(engine, "decision", None, {})
    assert (verdict.effect, verdict.reasons[0].code) == (Effect.DENY, "policy_circuit_open")


@pytest.mark.parametrize("mode", ["502", "503"])
async def test_what_a_proxy_turned_away_is_tried_again(opa: Sidecar, engine: OpaServer, mode: str) -> None:
    """Twice turned away, then answered, all within the deadline."""
    opa.mode(mode, times=2)
    assert (await engine.evaluate("decision", None, {})).effect is Effect.ALLOW


@pytest.mark.parametrize("mode", ["500", "cut", "garbage"])
async def test_what_may_have_reached_the_engine_is_not_tried_again(opa: Sidecar, engine: OpaServer, mode: str) -> None:
    """It was asked once, and the next question is a new one."""
    opa.mode(mode, times=1)
    opa.asked()
    assert await code(engine) == "policy_unavailable"
    assert len(evaluations(opa)) == 1
    assert (await engine.evaluate("decision", None, {})).effect is Effect.ALLOW


async def test_the_circuit_closes_when_the_server_answers_again(opa: Sidecar, make: Callable[..., OpaServer]) -> None:
    """One probe decides, after `open_for`."""
    seen = Seen()
    engine = make(failures=1, open_for="1s", observer=seen)
    await engine.open()
    opa.mode("500")
    assert [await code(engine), await code(engine)] == ["policy_unavailable", "policy_circuit_open"]
    opa.mode("")
    await asyncio.sleep(1.05)  # no less than `open_for`; more does no harm
    assert (await engine.evaluate("decision", None, {})).effect is Effect.ALLOW
    assert seen.results == ["policy_unavailable", "policy_circuit_open", "answered"]


async def test_a_policys_own_error_leaves_the_circuit_closed(opa: Sidecar, make: Callable[..., OpaServer]) -> None:
    """The server works; the policy does not."""
    opa.bundles({}, {"a.rego": "package lockgate.decision\n\nresult := 1 if input.never\n"})
    engine = make(failures=1)
    assert [await code(engine) for _ in range(3)] == ["policy_undefined"] * 3


async def test_a_bundles_revision_is_the_verdicts(opa: Sidecar, make: Callable[..., OpaServer]) -> None:
    """And another revision another digest, also of the same policies."""
    engine, digests = make(), set()
    for revision in ("r1", "r2"):
        opa.bundles({"main": revision}, SHIPPED, DATA)
        verdict = await engine.evaluate("decision", None, {})
        assert verdict.revision == f"main={revision}"
        digests.add(verdict.digest)
    assert len(digests) == 2


async def test_an_intents_package_of_a_new_bundle_judges_at_once(opa: Sidecar, engine: OpaServer) -> None:
    """What the server holds is looked at again as soon as an answer names other bundles, before that answer is used."""
    opa.bundles({"main": "r1"}, SHIPPED, DATA)
    assert (await engine.evaluate("decision", "pay", {})).effect is Effect.ALLOW
    opa.bundles({"main": "r2"}, {**SHIPPED, "policies/pay.rego": DENYING}, DATA)
    assert (await engine.evaluate("decision", "pay", {})).effect is Effect.DENY


async def test_an_intents_package_that_was_put_there_judges_after_the_next_look(opa: Sidecar, make: Callable[..., OpaServer]) -> None:
    """Without bundles nothing in an answer says that the policies changed."""
    engine = make(refresh="100ms")
    await engine.open()
    assert (await engine.evaluate("decision", "pay", {})).effect is Effect.ALLOW
    before = engine.digest
    opa.ask("PUT", "/v1/policies/policies/pay.rego", DENYING.encode(), "text/plain")
    await until(lambda: engine.digest != before)
    verdict = await engine.evaluate("decision", "pay", {})
    assert (verdict.effect, verdict.digest) == (Effect.DENY, engine.digest)


async def test_a_rule_in_the_package_of_all_intents_is_an_intents_too(opa: Sidecar, make: Callable[..., OpaServer]) -> None:
    """`pay.result` in `lockgate.intents` is what OPA has at `data.lockgate.intents.pay.result`."""
    opa.bundles({}, {**SHIPPED, "a.rego": 'package lockgate.intents\n\npay.result := {"effect": "deny"}\n'})
    assert (await make().evaluate("decision", "pay", {})).effect is Effect.DENY


async def test_a_package_that_is_gone_is_a_deny_until_it_is_known_to_be_gone(opa: Sidecar, engine: OpaServer) -> None:
    """Nothing at a place where something is said to be is no answer."""
    opa.bundles({}, {**SHIPPED, "policies/pay.rego": DENYING}, DATA)
    await engine._look()
    opa.bundles({}, SHIPPED, DATA)
    assert await code(engine, "pay") == "policy_undefined"


async def test_what_has_not_been_looked_at_for_long_does_not_decide(opa: Sidecar, make: Callable[..., OpaServer]) -> None:
    """Nobody could say what it was; so it is looked at anew, and where that fails, denied."""
    engine = make(url=opa.url, refresh="10ms")
    await engine.evaluate("decision", None, {})
    await asyncio.sleep(0.1)
    opa.bundles(
        {}, {"policies/admission.rego": ADMISSION, "policies/decision.rego": DECISION, "policies/lib.rego": LIB + "\nx := 1\n"}, DATA
    )
    assert (await engine.evaluate("decision", None, {})).digest == load({**SHIPPED, "policies/lib.rego": LIB + "\nx := 1\n"}, DATA).digest


async def test_health_is_told_and_recovers(opa: Sidecar, make: Callable[..., OpaServer]) -> None:
    """OPA's own, with plugins and bundles."""
    seen = Seen()
    engine = make(refresh="50ms", observer=seen)
    await engine.open()
    for mode, problem in (("unhealthy", "policy_unhealthy"), ("", None)):
        opa.mode(mode)
        await until(lambda: (engine.problem, seen.healthy) == (problem, problem is None))  # noqa: B023  # awaited at once
    assert "/health?plugins&bundles" in opa.asked()


async def test_a_server_that_is_away_at_the_start_is_one_sentence(make: Callable[..., OpaServer], monkeypatch) -> None:
    """After a while in which a sidecar may still come up."""
    monkeypatch.setattr("adapters.opa.server.START_S", 0.3)
    with pytest.raises(ConfigError, match=r"^The OPA server http://127.0.0.1:1 gave no usable answer: it cannot be reached\.$"):
        await make(url="http://127.0.0.1:1").open()


async def test_a_sidecar_that_comes_up_late_is_waited_for(make: Callable[..., OpaServer], tmp_path: Path) -> None:
    """Over its socket."""
    engine = make(url=f"unix://{tmp_path}/opa.sock")
    opening = asyncio.create_task(engine.open())
    await asyncio.sleep(0.3)
    assert not opening.done()
    with sidecar("--unix", f"{tmp_path}/opa.sock"):
        await opening
        assert await code(engine) == "policy_undefined"


async def test_a_server_that_dies_is_unavailable_and_comes_back(make: Callable[..., OpaServer], tmp_path: Path) -> None:
    """Kept connections to it are of no use any more, which no request has to find out by a failure of its own."""
    path = f"{tmp_path}/opa.sock"
    engine = make(url=f"unix://{path}", deadline_s=1.0)
    with process("--unix", path):
        assert await code(engine) == "policy_undefined"
    assert await code(engine) == "policy_unavailable"
    with process("--unix", path):
        assert await code(engine) == "policy_undefined"


async def test_the_token_is_shown_and_read_again(make: Callable[..., OpaServer], tmp_path: Path) -> None:
    """Who renews it exchanges the file."""
    with sidecar("--token", "s3cret") as opa:
        (tmp_path / "token").write_text("wrong\n")
        engine = make(url=opa.url, token=Secret(file="token"), root=tmp_path)
        with pytest.raises(ConfigError, match=r"does not let us ask: it answered 401\.$"):
            await engine.open()
        (tmp_path / "token").write_text("s3cret\n")
        await engine.open()
        assert await code(engine) == "policy_undefined"


async def test_both_sides_show_certificates(make: Callable[..., OpaServer], tmp_path: Path) -> None:
    """Only a server that the configured authority vouches for is asked, and only a client that it vouches for is answered."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    authority, other = Authority(tmp_path / "one"), Authority(tmp_path / "other")
    served = authority.issue("opa", x509.DNSName("localhost"))
    certificate, key = authority.issue("lockgate")
    with sidecar("--certificate", served[0], "--key", served[1], "--ca", authority.ca) as opa:
        url = opa.url.replace("127.0.0.1", "localhost")
        trusting = make(url=url, ca=authority.ca, certificate=certificate, key=key)
        assert await code(trusting) == "policy_undefined"
        assert await code(make(url=url, ca=other.ca, certificate=certificate, key=key)) == "policy_unavailable"
        assert await code(make(url=url, ca=authority.ca)) == "policy_unavailable"


def test_tls_files_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    """At the check of a workspace already."""
    with pytest.raises(ConfigError, match=r"^The TLS files of the OPA server https://opa.example cannot be used: "):
        OpaServer(OpaEngine(url="https://opa.example", ca="gone.pem"), tmp_path, deadline_s=1, clock=SystemClock())


@pytest.mark.parametrize(
    "url",
    [
        "http://opa.example:8181",
        "ftp://127.0.0.1",
        "unix://",
        "unix://opa.sock",
        "opa:8181",
        "https://u:p@opa.example",
        "https://opa.example?x=1",
    ],
)
def test_where_a_decision_could_be_forged_on_the_way_is_refused(url: str) -> None:
    """Over the network only by https, and the rest belongs into other settings."""
    with pytest.raises(ValueError, match="must"):
        OpaEngine(url=url)
