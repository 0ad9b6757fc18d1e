"""The library's packages, each adopted: OPA's own engine says the same as the embedded one, and what is not known never lets pass."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from opa_bindings import OpaError, OpaUndefinedError

from adapters.rego.embedded import interpreter, load
from adapters.rego.result import parse_result
from adapters.rego.testing import PASSED, run_tests
from router.decision import Verdict
from router.errors import PolicyError
from router.library import adopt, packages, place
from router.policy.evaluating import Policies
from router.policy.folder import PolicyFolder, adopting, input_schema, read_folder
from router.policy.inputs import Document, generated
from router.policy.robust import check_robust
from router.verdicts import stricter
from tests.conformance.library_settings import FOREIGN, SETTINGS, settings_of
from tests.conformance.rego_truth import opa
from tests.conformance.test_rego_differential import break_one, verdict_of

SHIPPED = read_folder(place(), place() / "data.yaml")
BASE = SHIPPED.data["lockgate"]["config"] | {"access": {"risks": {"low": {"clerk": ["*"]}}, "intents": {}, "routes": {}}}
JUDGED = {"source_address": "admission"}  # others judge the decision
BESIDE = {"admission": "adopted_admission", "decision": "adopted"}
LENGTHS = [pytest.param(400, id="short"), pytest.param(1500, id="long", marks=pytest.mark.slow)]
SAMPLES = [pytest.param(100, id="short"), pytest.param(400, id="long", marks=pytest.mark.slow)]
ZONES = ("Europe/Stockholm", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia", "UTC")
VALID = Draft202012Validator(input_schema())


def base(name: str) -> PolicyFolder:
    """Policies of others; the shipped ones for what lifts something of theirs."""
    policies, data = (SHIPPED.policies, over(name)) if name == "break_glass" else (FOREIGN, settings_of(name))
    return PolicyFolder(Path("mine"), policies, {}, data, "data.yaml")


def over(name: str) -> Mapping[str, Any]:
    return {"lockgate": {"config": {**BASE, **settings_of(name)["lockgate"]["config"]}}}


@cache
def made(name: str) -> list[Document]:
    lifting = PolicyFolder(Path("mine"), base(name).policies, {}, settings_of(name), "data.yaml")
    return generated(adopting(lifting, [name]))


def asked(name: str, most: int) -> list[Document]:
    """What can be made of the package's fixtures, the same every time."""
    found = made(name)
    return [*found[:20], *random.Random(1).sample(found[20:], min(len(found) - 20, most))]


def test_every_package_has_settings_here() -> None:
    """So that none is left out below."""
    assert SETTINGS.keys() == set(packages())


@pytest.mark.parametrize("most", LENGTHS)
@pytest.mark.parametrize("name", packages())
def test_what_is_not_known_lets_nothing_pass(name: str, most: int) -> None:
    """Beside the shipped policies: an allow never stays one because a part of the input is missing."""
    folder = adopting(PolicyFolder(Path("mine"), SHIPPED.policies, {}, over(name), "data.yaml"), [name])
    found = check_robust(folder, Policies(folder), asked(name, most))
    assert list(map(str, found.faults)) == []
    assert found.allowed["decision"] > 0


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("name", packages())
async def test_both_engines_give_the_same_verdict(name: str, sample: int) -> None:
    """Of inputs as the pipeline sends them and of broken ones. Of those the embedded engine may be unable to make anything, and denies."""
    chance, folder, entry = random.Random(2), adopting(base(name), [name]), JUDGED.get(name, "decision")
    documents = [each for each in asked(name, 1500) if each["entry"] == entry]
    documents = chance.sample(documents, min(sample, len(documents)))
    broken = orjson.loads(orjson.dumps(documents))
    for each in broken:
        break_one(each, chance)
    embedded, effects = load(folder.policies, folder.data, deadline_s=60), set()
    with opa(folder.policies, folder.data) as truth:
        for document in (*documents, *broken):
            expected, found = of_opa(truth, document, entry), await verdict_of(embedded, entry, document)
            effects.add(expected.effect.value if isinstance(expected, Verdict) else expected)
            if found == "policy_error" != expected:
                assert not VALID.is_valid(document), orjson.dumps(document).decode()
            else:
                assert found == expected, orjson.dumps(document).decode()
    assert {"allow", "reroute" if name == "route_choice" else "deny"} <= effects


def of_opa(truth: Any, document: Document, entry: str) -> Verdict | str:
    """The entry point and what is adopted, joined."""
    try:
        found = [parse_result(truth.eval_document(f"lockgate.{asked}.result", document), entry) for asked in (entry, BESIDE[entry])]
    except OpaUndefinedError:
        return "policy_undefined"
    except OpaError:
        return "policy_error"
    except PolicyError as error:
        return error.code
    return stricter(*found)


def moments() -> Iterator[tuple[int, str]]:
    """Any time of the next fifty years, and seconds around the changes of the clock."""
    chance = random.Random(3)
    for _ in range(400):
        yield chance.randrange(1_600_000_000, 3_100_000_000), chance.choice(ZONES)
    for zone in ZONES:
        yield from (
            (moment, zone) for change in (1774746000, 1792890000, 1772953200, 1793512800) for moment in range(change - 1, change + 2)
        )


def test_days_and_clocks_are_those_of_opa() -> None:
    """In every zone, with summer time and without."""
    text = (place() / "library" / "lib" / "instants.rego").read_text()
    asking = """package lockgate.asked

import data.lockgate.lib.instants

clock := time.clock([input.ns, input.zone])
weekday := time.weekday([input.ns, input.zone])
day := instants.day([input.ns, input.zone])
"""
    engine = interpreter({"i.rego": text, "a.rego": asking}, "{}")
    with opa({"i.rego": text, "a.rego": asking}) as truth:
        for seconds, zone in moments():
            document = {"ns": seconds * 1_000_000_000, "zone": zone}
            engine.set_input_json(orjson.dumps(document).decode())
            found = asked_of(engine)
            assert found == {name: truth.eval_document(f"lockgate.asked.{name}", document) for name in found}, document


def asked_of(engine: Any) -> dict[str, Any]:
    return {name: orjson.loads(engine.eval_rule_as_json(f"data.lockgate.asked.{name}")) for name in ("clock", "weekday", "day")}


def test_seconds_are_those_of_the_calendar() -> None:
    """Of every day from 2000 to 2200, some of them at another time of the day."""
    text = (place() / "library" / "lib" / "instants.rego").read_text()
    engine = interpreter(
        {"i.rego": text, "a.rego": "package lockgate.asked\n\nx := data.lockgate.lib.instants.seconds(input.text)\n"}, "{}"
    )
    for day in range(0, 73_000, 7):
        moment = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=day, seconds=day * 37 % 86_400)
        engine.set_input_json(orjson.dumps({"text": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}).decode())
        assert orjson.loads(engine.eval_rule_as_json("data.lockgate.asked.x")) == int(moment.timestamp()), moment


def addresses() -> Iterator[tuple[str, str]]:
    """Networks, and texts of which most are addresses in or beside them, however they are written."""
    chance = random.Random(5)
    for _ in range(600):
        bits = chance.choice((32, 128))
        address = ip_address(chance.getrandbits(bits).to_bytes(bits // 8, "big"))
        network = ip_network((address, chance.randrange(bits + 1)), strict=False)
        beside = ip_address((int(address) ^ (1 << chance.randrange(bits))).to_bytes(bits // 8, "big"))
        for each in (address, beside):
            yield str(network), chance.choice((str(each), each.exploded, str(each).upper(), f"::ffff:{each}"))
        yield str(network), damaged(str(address), chance)
    for text in (
        "::",
        "::1",
        "1::",
        "1:2:3:4:5:6:7::",
        "1:2:3:4::5:6:7:8",
        "::FFFF:10.1.2.3",
        "::ffff:a01:203",
        "::10.1.2.3",
        "1:2:3:4:5:6:7",
    ):
        yield from ((network, text) for network in ("::/0", "0.0.0.0/0", "10.0.0.0/8"))


def damaged(text: str, chance: random.Random) -> str:
    place = chance.randrange(len(text) + 1)
    return text[:place] + chance.choice(("", ".", ":", "::", "0", "%1", " ", "/8", "g")) + text[place + chance.randrange(2) :]


def test_networks_are_those_of_the_internet() -> None:
    """OPA, the embedded engine and Python's own reading of addresses agree on who is within; both engines on what is no address."""
    text = (place() / "library" / "lib" / "networks.rego").read_text()
    asking = """package lockgate.asked

import data.lockgate.lib.networks

address := networks.address(input.text)
within := networks.within([input.network], address)
"""
    engine = interpreter({"n.rego": text, "a.rego": asking}, "{}")
    seen = set()
    with opa({"n.rego": text, "a.rego": asking}) as truth:
        for network, written in addresses():
            document = {"network": network, "text": written}
            engine.set_input_json(orjson.dumps(document).decode())
            found = orjson.loads(engine.eval_rule_as_json("data.lockgate.asked.within"))
            assert (None if found == "<undefined>" else found) == within(written, network) == opa_within(truth, document), document
            seen.add(found)
    assert seen == {True, False, "<undefined>"}


def within(text: str, network: str) -> bool | None:
    """None of what is no address: what has a zone, or an IPv4 address in it otherwise than sockets write it."""
    dotted = re.fullmatch(r"::ffff:([0-9.]+)", text, re.IGNORECASE)
    try:
        found = ip_address(dotted[1] if dotted else text)
    except ValueError:
        return None
    if found.version == 6 and ("." in text or "%" in text or found.ipv4_mapped is not None):
        return None
    return found in ip_network(network)


def opa_within(truth: Any, document: Document) -> bool | None:
    try:
        found: bool = truth.eval_document("lockgate.asked.within", document)
    except OpaUndefinedError:
        return None
    return found


@pytest.mark.parametrize("name", packages())
def test_opa_runs_the_tests_of_what_is_adopted(name: str) -> None:
    """Those of the package, of all that it brings, and of the module that is made."""
    files = adopt(base(name).policies, [name])
    with opa({**base(name).policies, **files.policies, **files.tests}) as truth:
        outcomes = run_tests({**base(name).policies, **files.policies}, files.tests, {}).outcomes
        assert [each.name for each in outcomes if truth.eval_document(each.name, {}) is not True] == []
        assert {each.outcome for each in outcomes} == {PASSED}
