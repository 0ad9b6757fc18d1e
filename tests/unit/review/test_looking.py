"""What a reviewer who may change a held request sees of it, and what it would become."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import orjson
import pytest

from adapters.memory_ledger import MemoryLedger
from router.decision import Effect, Reason, Verdict
from router.review.attempting import Asked
from router.review.attempts import Kind
from router.review.places import places
from tests.unit.audit.samples import VERDICT
from tests.unit.identity.parts import HandClock
from tests.unit.review.conftest import Bank
from tests.unit.review.parts import ANNA, RITA, RUBEN, Desk
from tests.unit.review.test_machine import CHIEF, PAYMENT, refused


def readings(ledger: MemoryLedger) -> list[Any]:
    leaves = [orjson.loads(entry.leaf) for entry in ledger.entries]
    return [leaf["details"] for leaf in leaves if leaf.get("event") == "audit_read"]


async def asked(desk: Desk, review_id: str, **changes: Any) -> Asked:
    seen = await desk.service.get(review_id) or {}
    return Asked(
        Kind.MODIFY, digest=seen["content_digest"], version=seen["version"], changes={f"/{name}": each for name, each in changes.items()}
    )


async def test_who_may_change_it_sees_the_values_and_is_on_record(desk: Desk, ledger: MemoryLedger) -> None:
    """Only those that policy names, as they would be sent; the record names the reader and the request, and no value."""
    review_id = await desk.held(outbound=PAYMENT, modify=["/amount"])
    seen = await desk.service.values(review_id, RITA)
    assert (seen["values"], seen["more"], seen["version"]) == ([{"pointer": "/amount", "kind": "number", "value": 4711}], False, 1)
    (reading,) = readings(ledger)
    assert (reading["what"], reading["filters"], reading["rows"], reading["opened"]) == ("held", f"id = '{review_id}'", 1, True)
    assert reading["reader_key"] == (await desk.people.key_for(RITA.id))[0]
    assert not re.search(rb"(?<![\w-])4711(?![\w-])", ledger.entries[-1].leaf)  # digests and ids have any digits by chance


async def test_who_may_not_change_it_sees_nothing(desk: Desk, ledger: MemoryLedger, clock: HandClock) -> None:
    """One's own, without the role, while it is another's, of nothing that policy names, after the end; and nothing is on record as read."""
    review_id = await desk.held(outbound=PAYMENT, modify=["/amount"], expires="1h")
    change = await asked(desk, review_id, amount=1)
    for who, code in ((ANNA, "self_approval"), (CHIEF, "reviewer_role_missing")):
        assert await refused(desk.service.values(review_id, who)) == code
        assert await refused(desk.service.modified(review_id, who, change)) == code
    await desk.attempt(review_id, RUBEN, Kind.CLAIM)
    assert await refused(desk.service.values(review_id, RITA)) == "review_claimed"
    clock.forward(3601)
    assert await refused(desk.service.values(review_id, RUBEN)) == "review_expired"
    fixed = await desk.held(2, outbound=PAYMENT)
    assert await refused(desk.service.values(fixed, RITA)) == "modification_refused"
    assert await refused(desk.service.values("nothing", RITA)) == "review_not_found"
    assert readings(ledger) == []


async def test_policy_is_asked_who_may_look(desk: Desk) -> None:
    """As about the change itself."""
    review_id = await desk.held(outbound=PAYMENT, modify=["/amount"])
    before = desk.policy.evaluate

    async def stricter(entry: str, intent: Any, document: Any) -> Verdict:
        if entry == "review" and document["attempt"]["kind"] == "modify":
            return Verdict(Effect.DENY, (Reason("review.contractor"),), digest=VERDICT.digest)
        return await before(entry, intent, document)

    desk.policy.evaluate = stricter  # type: ignore[method-assign]  # a rule of a workspace's own
    assert await refused(desk.service.values(review_id, RITA)) == "review_denied"


async def test_what_it_would_become_is_what_it_becomes(desk: Desk, bank: Bank) -> None:
    """The digest that was shown is the one that is approved; nothing happens by looking."""
    review_id = await desk.held(outbound=PAYMENT, modify=["/amount"])
    change = await asked(desk, review_id, amount=100)
    would = (await desk.service.modified(review_id, RITA, change))["becomes"]
    assert would["changes"] == [{"pointer": "/amount", "before": 4711, "after": 100}]
    assert (would["state"], would["otherwise"], would["quorum"]) == ("approved", False, 1)
    assert ((await desk.service.get(review_id) or {})["version"], bank.got) == (1, [])
    done = await desk.service.attempt(review_id, RITA, replace(change, becomes=would["content_digest"]))
    assert (done["state"], done["content_digest"]) == ("done", would["content_digest"])


async def test_what_would_become_something_else_is_not_done(desk: Desk, bank: Bank) -> None:
    """The change that was shown was to another value."""
    review_id = await desk.held(outbound=PAYMENT, modify=["/amount"])
    change = await asked(desk, review_id, amount=100)
    would = (await desk.service.modified(review_id, RITA, change))["becomes"]
    other = replace(change, changes={"/amount": 100_000}, becomes=would["content_digest"])
    assert await refused(desk.service.attempt(review_id, RITA, other)) == "content_changed"
    assert ((await desk.service.get(review_id) or {})["state"], bank.got) == ("pending", [])


async def test_an_old_look_is_refused_as_an_old_change_is(desk: Desk) -> None:
    """By version and by digest."""
    review_id = await desk.held(outbound=PAYMENT, modify=["/amount"], quorum=2)
    change = await asked(desk, review_id, amount=100)
    await desk.attempt(review_id, RUBEN, Kind.MODIFY, changes={"/amount": 7})
    assert await refused(desk.service.modified(review_id, RITA, change)) == "review_changed"
    assert await refused(desk.service.modified(review_id, RITA, replace(change, version=None))) == "content_changed"
    (value,) = (await desk.service.values(review_id, RITA))["values"]
    assert value["value"] == 7


@pytest.mark.parametrize("value", ["100", True, None, [100], {"much": 100}])
async def test_what_is_a_number_stays_one(desk: Desk, value: Any) -> None:
    """A service that reads an amount gets an amount, whoever changed it."""
    review_id = await desk.held(outbound=PAYMENT, modify=["/amount"])
    assert await refused(desk.attempt(review_id, RITA, Kind.MODIFY, changes={"/amount": value})) == "modification_refused"


def test_places_are_those_that_policy_names() -> None:
    """Members of an object one by one, lists whole, `*` any one step, names as RFC 6901 writes them; what is not there is none."""
    document = {"a": {"b": 1, "c/d": {"e~": None}}, "lines": [{"n": 1, "x": 0}, {"n": 2}], "tags": ["x"], "none": {}}
    found = places(document, ["/a", "/lines/*/n", "/tags", "/none", "/lines/0/n", "/missing/x", "/tags/9"])
    assert [(each.pointer, each.kind, each.value) for each in found] == [
        ("/a/b", "number", 1),
        ("/a/c~1d/e~0", "nothing", None),
        ("/lines/0/n", "number", 1),
        ("/lines/1/n", "number", 2),
        ("/tags", "list", ["x"]),
        ("/none", "object", {}),
    ]
