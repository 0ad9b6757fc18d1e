"""The page that verifies bundles, in a real browser, opened from its file as a stranger would."""

from __future__ import annotations

import copy
import json
import random
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from router.audit.checking.bundle import Disclosure
from tests.needs import needs, needs_file
from tests.unit.verifier.places import paths, put
from tests.unit.verifier.vectors import Vector, answer, raw_bundle, vectors
from vectors.ledger import ANNA, FIRST, NEW, Ledger, entries, keys, sealed_entry

needs("playwright", "pip install playwright")
needs_file(Path("/usr/bin/chromium"), "apt install chromium")

from playwright.sync_api import Browser, Page, sync_playwright

WEB = Path(__file__).parents[2] / "verifier" / "web"
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
SILENT = ("--disable-component-update", "--disable-sync")
ASK = """async (asked) => {
  const bytes = (text) => text === null ? null : Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const said = [];
  for (const { bundle, keys, policy, checkpoint } of asked) {
    const { status, id, sentence } =
      await lockgateVerify.verify({ bundle: bytes(bundle), keys, policy: bytes(policy), checkpoint: bytes(checkpoint) });
    said.push({ status, id, sentence });
  }
  return said;
}"""
LATE = "void (lockgateVerify.verify = () => new Promise((done) => { globalThis.late = done; }))"
CONTRAST = """() => {
  const light = ([red, green, blue]) => [red, green, blue].map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((total, part, place) => total + part * [0.2126, 0.7152, 0.0722][place], 0);
  const parts = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const ground = (node) => {
    const found = parts(getComputedStyle(node).backgroundColor);
    return found.length === 4 && found[3] === 0 && node.parentElement ? ground(node.parentElement) : found;
  };
  const shown = [...document.querySelectorAll("main *")].filter((node) => node.checkVisibility()
    && [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()));
  return shown.map((node) => {
    const [one, other] = [light(parts(getComputedStyle(node).color)), light(ground(node))].sort((a, b) => b - a);
    return [node.outerHTML.slice(0, 60), (one + 0.05) / (other + 0.05)];
  });
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=[*QUIET, *SILENT])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Fails when the page complained about anything, such as what its own policy forbids it."""
    opened, complaints = browser.new_page(), list[str]()
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto((WEB / "index.html").as_uri())
    yield opened
    opened.close()
    assert complaints == []


def asked(raw: bytes, vector: Vector) -> dict[str, Any]:
    encoded = {name: None if vector[name] is None else b64encode(vector[name].encode()).decode() for name in ("policy", "checkpoint")}
    return {"bundle": b64encode(raw).decode(), "keys": vector["keys"], **encoded}


def short(said: dict[str, Any]) -> dict[str, Any]:
    return {part: said[part] for part in ("status", "id", "sentence")}


def choose(page: Page, raw: bytes, **pasted: str) -> None:
    page.set_input_files("#bundle", files=[{"name": "bundle.json", "mimeType": "application/json", "buffer": raw}])
    for name, text in pasted.items():
        page.fill(f"#{name}", text)
    page.click("#verify")
    page.wait_for_selector("#verdict:not([hidden])")


def test_what_holds_is_not_said_of_the_next_bundle(page: Page) -> None:
    """Neither while another one, or another key, is chosen and not verified, nor where the first answer comes after that."""
    vector = next(each for each in vectors().values() if each["id"] == "holds" and each["policy"] is None and each["checkpoint"] is None)
    given = {"name": "other.json", "mimeType": "application/json", "buffer": b"{}"}
    choose(page, raw_bundle(vector), keys="\n".join(vector["keys"]))
    assert page.inner_text("#verdict strong") == "Holds"
    page.set_input_files("#bundle", files=[given])
    assert (page.is_visible("#verdict"), page.is_visible("#result")) == (False, False)
    choose(page, raw_bundle(vector))
    page.fill("#keys", "")
    assert not page.is_visible("#verdict")
    page.evaluate(LATE)
    page.set_input_files("#bundle", files=[{**given, "buffer": raw_bundle(vector)}])
    page.click("#verify")
    page.wait_for_function("Boolean(globalThis.late)")
    page.set_input_files("#bundle", files=[given])
    page.evaluate("void globalThis.late({ ok: true, sentence: 'late', steps: [], notProven: [], opened: [], records: [] })")
    page.evaluate("new Promise((done) => setTimeout(done))")
    assert not page.is_visible("#verdict")


def test_the_second_implementation_holds_to_the_vectors(page: Page) -> None:
    """Status, id and sentence, word for word."""
    every = list(vectors().values())
    said = page.evaluate(ASK, [asked(raw_bundle(vector), vector) for vector in every])
    assert dict(zip(vectors(), said, strict=True)) == {vector["name"]: short(vector) for vector in every}


def test_both_say_the_same_to_what_was_altered(page: Page) -> None:
    """Eight hundred bundles, policies, checkpoints and keys, altered in their characters or values, the same ones every time."""
    chance = random.Random(25)
    cases = [altered(chance) for _ in range(800)]
    said = page.evaluate(ASK, [asked(raw, vector) for raw, vector in cases])
    for (raw, vector), one in zip(cases, said, strict=True):
        assert one == short(answer(raw, vector)), (raw, vector)
    assert len({one["id"] for one in said}) > 10


def altered(chance: random.Random) -> tuple[bytes, Vector]:
    vector = vectors()[chance.choice(sorted(name for name, vector in vectors().items() if vector["id"] == "holds"))]
    raw, part = raw_bundle(vector), chance.choice(["characters", "values", "values", "policy", "checkpoint", "keys"])
    if part == "characters":
        return spoilt(chance, raw.decode()), vector
    if part == "values":
        return json.dumps(exchanged(chance, json.loads(raw))).encode(), vector
    if part == "keys":
        return raw, {**vector, "keys": [spoilt(chance, key).decode() for key in vector["keys"]]}
    return raw, {**vector, part: None if vector[part] is None else spoilt(chance, vector[part]).decode()}


def spoilt(chance: random.Random, text: str) -> bytes:
    start = chance.randrange(len(text))
    pieces = ["", "0", '"', "\\u0041", "ä", ",", "A", "\n", " ", "\t", "\r", "+", "=", "\u2003", "— ", "\n\n", text[start : start + 60]]
    return (text[:start] + chance.choice(pieces) + text[start + chance.randrange(3) :]).encode()


def exchanged(chance: random.Random, document: Any) -> Any:
    places, other = paths(document), document
    for part in chance.choice(places):
        other = other[part]
    value = chance.choice([copy.deepcopy(other), None, True, -1, 2**53, "", [], {}, "AAAA", 1.5])
    put(document, chance.choice(places[1:]), lambda owner, key: owner.__setitem__(key, value))
    return document


def test_a_bundle_is_chosen_and_verified(page: Page) -> None:
    """With key, policy and checkpoint pasted; the sentence, each step, fields and records are shown."""
    vector = vectors()["everything"]
    choose(page, raw_bundle(vector), keys="\n".join(vector["keys"]), policy=vector["policy"], checkpoint=vector["checkpoint"])
    assert page.evaluate("document.activeElement.id") == "verdict"
    assert page.inner_text("#verdict strong") == "Holds"
    assert page.inner_text("#verdict p") == vector["sentence"]
    assert page.locator("#steps .holds").count() == 9
    assert page.inner_text("#opened").count("4711") == 1
    page.locator("#records details").first.click()
    assert '"lockgate.decision.v1"' in page.inner_text("#records")


def test_a_bundle_is_dropped_and_refused(page: Page) -> None:
    """The step that fails is marked, and what came before it."""
    vector = vectors()["opened-other-value"]
    page.evaluate(
        """(text) => {
          const carried = new DataTransfer();
          carried.items.add(new File([text], "bundle.json"));
          document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: carried, cancelable: true }));
        }""",
        vector["bundle"],
    )
    page.fill("#keys", vector["keys"][0])
    page.keyboard.press("Tab")
    page.click("#verify")
    page.wait_for_selector("#verdict.bad")
    assert page.inner_text("#verdict p") == vector["sentence"]
    assert page.inner_text("#steps .fails") == "fails"
    assert page.locator("#records-part").is_hidden()


def test_without_a_bundle_it_says_so(page: Page) -> None:
    """One sentence."""
    page.click("#verify")
    assert page.inner_text("#verdict p") == "No bundle is chosen."


def test_what_a_bundle_says_is_never_markup_and_never_backwards(page: Page, tmp_path: Path) -> None:
    """A personal field may hold anything that a caller wrote."""
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script> \u202erefsnart\u2069 \u009b8m \u200f10 20 \u200fשלום"
    records = entries()
    leaf = {name: value for name, value in json.loads(records[1].leaf).items() if name not in ("commitments", "sealed")}
    ledger = Ledger(tmp_path, [records[0], sealed_entry(leaf, {"text": hostile}, *ANNA), *records[2:]])
    with ledger.bundles() as bundles:
        document = bundles.bundle(FIRST, None, Disclosure(keys))
    choose(page, json.dumps(document).encode(), keys=NEW.verifier)
    assert "<script>alert(2)</script> \\u202erefsnart\\u2069 \\u009b8m \\u200f10 20 \u200fשלום" in page.inner_text("#opened")
    assert page.locator("#result img, #result script").count() == 0


def test_it_may_not_connect_to_anything(browser: Browser) -> None:
    """By its content security policy, whose hash of the style is right."""
    page = browser.new_page()
    page.goto((WEB / "index.html").as_uri())
    refused = "async (url) => { try { await fetch(url); return 'sent'; } catch (error) { return error.name; } }"
    assert page.evaluate(refused, "http://127.0.0.1:9/") == "TypeError"
    html = (WEB / "index.html").read_text(encoding="utf-8")
    policy = re.findall(r'Content-Security-Policy" content="([^"]+)"', html)[0]
    style = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)[0]
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy
    assert b64encode(sha256(style.encode()).digest()).decode() in policy
    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        page.evaluate("() => { new Image().src = 'http://127.0.0.1:9/?secret'; }")
    page.close()


def test_a_browser_without_ed25519_is_told(page: Page) -> None:
    """Instead of an answer that would mean nothing."""
    page.evaluate("() => { crypto.subtle.importKey = async () => { throw new DOMException('', 'NotSupportedError'); }; }")
    choose(page, b"{}", keys="x")
    assert page.inner_text("#verdict strong") == "Cannot verify"
    assert "Chrome and Edge can from version 137 on" in page.inner_text("#verdict p")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["everything", "opened-other-value"])
def test_it_can_be_read_and_used_by_everybody(page: Page, scheme: Any, name: str) -> None:
    """Contrast of 4.5 or more in both schemes, a label for each field, the keyboard reaches all of them."""
    page.emulate_media(color_scheme=scheme)
    vector = vectors()[name]
    choose(page, raw_bundle(vector), keys=vector["keys"][0])
    assert [(text, ratio) for text, ratio in page.evaluate(CONTRAST) if ratio < 4.5] == []
    for label in ("Bundle", "Public key of the ledger", "Witness policy (optional)", "Checkpoint kept elsewhere (optional)"):
        assert page.get_by_label(label, exact=True).count() == 1
    page.focus("#bundle")
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert reached == ["keys", "policy", "checkpoint", "verify"]
