"""Whatever goes wrong with policy is a deny with its own reason, and the engine goes on working."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest
import regorus

from adapters.memory_policy import MemoryPolicy
from adapters.rego.embedded import EmbeddedRego, load
from adapters.rego.threads import discard
from router.decision import Effect, Verdict
from router.errors import ConfigError
from router.ports import Intents
from router.stages.policy import judge

ADMIT = 'package lockgate.admission\n\nresult := {"effect": "allow"}\n'


def engine(decision: str, deadline_s: float = 10.0, **more: str) -> EmbeddedRego:
    texts = {"admission.rego": ADMIT, "decision.rego": f"package lockgate.decision\n\n{decision}\n", **more}
    return load(texts, deadline_s=deadline_s)


async def code(engine: Any, document: Mapping[str, Any] | None = None, intent: str | None = None, entry: str = "decision") -> str:
    verdict = await judge(engine, entry, intent, {} if document is None else document)
    assert verdict.effect is Effect.DENY
    return verdict.reasons[0].code


async def test_an_undefined_result_is_a_deny():
    """No rule applies."""
    assert await code(engine('result := {"effect": "allow"} if input.never')) == "policy_undefined"


async def test_a_reason_code_made_from_the_request_is_a_deny():
    """Codes stay in the ledger for ever, so they stand in the policy's text and are never computed from what somebody sent."""
    made = engine('result := {"effect": "allow", "reasons": [{"code": lower_id}]} if { lower_id := input.subject.id }')
    assert await code(made, {"subject": {"id": "jane.doe"}}) == "policy_malformed"


@pytest.mark.parametrize(
    "result",
    [
        "null",
        "true",
        '"allow"',
        '[{"effect": "allow"}]',
        '{{"effect": "allow"}}',
        "{}",
        '{"effect": "ALLOW"}',
        '{"effect": "maybe"}',
        '{"effect": null}',
        '{"effect": ["allow"]}',
        '{"effect": "allow", "extra": 1}',
        '{"effect": "allow", "reasons": "granted"}',
        '{"effect": "allow", "reasons": ["granted"]}',
        '{"effect": "allow", "reasons": [{"code": "Not A Code"}]}',
        '{"effect": "allow", "reasons": [{"code": "a", "message": 3}]}',
        '{"effect": "allow", "reasons": [{"message": "no code"}]}',
        '{"effect": "allow", "obligations": {}}',
        '{"effect": "allow", "obligations": [{"name": 3}]}',
        '{"effect": "allow", "obligations": [{"name": "mask_body", "params": {"x": 1}}]}',
        '{"effect": "allow", "obligations": [{"name": "add_headers", "params": {}}]}',
        '{"effect": "review", "obligations": [{"name": "require_review", "params": {"quorum": 0}}]}',
        '{"effect": "review", "obligations": [{"name": "require_review", "params": {"expires": "soon"}}]}',
        '{"effect": "reroute"}',
        '{"effect": "reroute", "route": "Not a name"}',
        '{"effect": "allow", "route": "elsewhere"}',
    ],
)
async def test_a_malformed_result_is_a_deny(result):
    """Nothing is read into an answer that does not say it."""
    assert await code(engine(f"result := {result}")) in {"policy_malformed", "policy_undefined", "obligation_failed"}


async def test_an_obligation_that_nobody_can_meet_is_a_deny():
    """A duty that this version does not know is not dropped."""
    made = engine('result := {"effect": "allow", "obligations": [{"name": "encrypt_body"}]}')
    assert await code(made) == "obligation_unknown"


async def test_review_at_admission_is_a_deny():
    """Before an intent is known there is nothing that a person could judge."""
    made = load({"a.rego": ADMIT.replace("allow", "review"), "d.rego": 'package lockgate.decision\n\nresult := {"effect": "allow"}\n'})
    assert await code(made, entry="admission") == "policy_malformed"


async def test_an_error_in_a_builtin_is_a_deny():
    """A rule that stops half-way decides nothing; elsewhere it would have been allowed."""
    made = engine('default result := {"effect": "allow"}\n\nresult := {"effect": "deny"} if input.a / input.b > 1')
    assert await code(made, {"a": 1, "b": 0}) == "policy_error"


async def test_an_error_leaves_nothing_behind():
    """The next request is judged as if nothing had happened."""
    made = engine('result := {"effect": "allow"} if input.a / input.b > 1')
    assert await code(made, {"a": 1, "b": 0}) == "policy_error"
    assert (await judge(made, "decision", None, {"a": 4, "b": 2})).effect is Effect.ALLOW


async def test_two_answers_at_once_are_a_deny():
    """Rules that contradict each other are an error and no choice."""
    made = engine('result := {"effect": "allow"} if input.a\n\nresult := {"effect": "deny"} if input.b')
    assert await code(made, {"a": True, "b": True}) == "policy_error"


async def test_a_late_answer_is_a_deny():
    """An answer after the deadline is not taken, whatever it says."""
    assert await code(engine('result := {"effect": "allow"}', deadline_s=0)) == "policy_late"


async def test_an_engine_that_does_not_answer_is_a_deny():
    """The deadline ends the wait for an engine that can be waited for."""

    class Sleeping(MemoryPolicy):
        async def evaluate(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Verdict:
            await asyncio.sleep(30)
            return await super().evaluate(entry, intent, document)

    verdict = await judge(Sleeping({}), "decision", None, {}, deadline_s=0.01)
    assert (verdict.effect, verdict.reasons[0].code) == (Effect.DENY, "policy_late")


@pytest.mark.parametrize("error", [RuntimeError("x"), ValueError("x"), MemoryError(), ConnectionError(), RecursionError()])
async def test_an_engine_that_fails_in_a_new_way_is_a_deny(error):
    """No exception becomes an allow."""
    assert await code(MemoryPolicy({"decision": error})) == "policy_error"


@pytest.mark.parametrize("answer", [True, None, Verdict("allow"), Verdict("deny"), Verdict(None)])
async def test_an_engine_that_answers_with_no_verdict_is_a_deny(answer):
    """An adapter that breaks its contract is not believed."""

    class Careless(MemoryPolicy):
        async def evaluate(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Any:
            return answer

    assert await code(Careless({})) == "policy_malformed"


async def test_a_cancelled_request_is_not_an_answer():
    """Cancellation goes through, so that a server can stop."""
    with pytest.raises(asyncio.CancelledError):
        await judge(MemoryPolicy({"decision": asyncio.CancelledError()}), "decision", None, {})


@pytest.mark.parametrize("policies", [{}, {"admission.rego": ADMIT}, {"x.rego": "package lockgate.other\n\nx := 1\n"}])
def test_an_empty_or_incomplete_rule_set_is_refused(policies):
    """Without both entry points nothing is loaded, so nothing runs."""
    with pytest.raises(ConfigError):
        load(policies)


async def test_an_unknown_entry_point_is_a_deny():
    """Only admission and decision are asked."""
    assert await code(engine('result := {"effect": "allow"}'), entry="config") == "policy_undefined"


async def test_an_intents_undefined_package_is_a_deny():
    """A package that was written for an intent must speak about it."""
    own = 'package lockgate.intents.pay\n\nresult := {"effect": "allow"} if input.never\n'
    assert await code(engine('result := {"effect": "allow"}', intent=own), intent="pay") == "policy_undefined"


@pytest.mark.parametrize("document", [{"a": "\ud800"}, {"a": 1 << 80}, {"a": object()}, {1: 2}])
async def test_an_input_that_is_no_json_is_a_deny(document):
    """What cannot be given to the engine whole is not judged."""
    assert await code(engine('result := {"effect": "allow"}'), document) == "policy_error"


async def test_a_number_that_is_none_arrives_as_null():
    """A confidence that is not a number cannot pass a floor."""
    made = engine('result := {"effect": "allow"} if is_null(input.x)')
    assert (await judge(made, "decision", None, {"x": float("nan")})).effect is Effect.ALLOW


class Panicking:
    """Stands in for an interpreter that breaks off; a real one does so only when it is called from another thread."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def set_input_json(self, text: str) -> None:
        self._real.set_input_json(text)

    def eval_rule_as_json(self, rule: str) -> str:
        raise real_panic()


def real_panic() -> BaseException:
    """The exception that the interpreter's panics are, from a panic that was really made."""
    made = regorus.Engine()
    caught: list[BaseException] = []

    def call() -> None:
        try:
            made.get_packages()
        except BaseException as error:  # noqa: BLE001  # a panic is no Exception, which is the point
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return caught[0]


async def test_a_panic_is_a_deny_and_the_engine_is_built_anew(capfd):
    """A broken interpreter answers no further request; a new one does."""
    made = engine('result := {"effect": "allow"}')
    held = made._interpreter(made._parts["data.lockgate.decision.result"])
    held.current = Panicking(held.current)
    assert await code(made) == "policy_error"
    assert (await judge(made, "decision", None, {})).effect is Effect.ALLOW
    capfd.readouterr()


def test_a_panic_is_no_exception():
    """Why the engine catches more than exceptions."""
    assert not isinstance(real_panic(), Exception)


async def test_each_thread_has_an_interpreter_of_its_own():
    """An interpreter panics in a thread that did not make it; ours answers in any."""
    made = engine('result := {"effect": "allow"}')

    def answer() -> Effect:
        """Without an event loop, whose cycles another thread's garbage collection would sweep up together with the interpreter."""
        try:
            made.evaluate("decision", None, {}).send(None)
        except StopIteration as end:
            return end.value.effect
        finally:
            for owner in (made, *made._parts.values()):
                discard(owner)
        raise AssertionError("the embedded engine never waits")

    assert await asyncio.gather(*(asyncio.to_thread(answer) for _ in range(4))) == [Effect.ALLOW] * 4


async def test_a_refusal_says_nothing_of_what_was_sent():
    """What the interpreter quotes of the input stays out of the reason."""
    made = engine('result := {"effect": "allow"} if startswith(input.secret, "a")')
    verdict = await judge(made, "decision", None, {"secret": {"word": "hunter2"}})
    assert verdict.reasons[0].code == "policy_error"
    assert "hunter2" not in verdict.reasons[0].message
