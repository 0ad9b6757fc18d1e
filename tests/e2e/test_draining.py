"""A node taken out of service and back, as an operator does it: nothing is lost, everything is on record, and it stays so for as long as it
is to stay so."""

from __future__ import annotations

import http.client
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from router.system import SystemClock
from router.wiring.sign_in import local_links
from router.workspace import parse, read
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, Person, cli, prepared
from tests.e2e.wire import TIMEOUT_S, Answer, ask
from tests.e2e.yard import load, save
from tests.needs import needs, needs_file

PEOPLE = (
    Person("ann", ("employee",)),
    Person("otto", ("operator",), ("control",)),
    Person("idle", ("viewer",), ("control",)),
    Person("root", ("admin",), ("control",)),
)
NODE = "/v1/nodes/self"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    with prepared(tmp_path_factory.mktemp("draining"), "--workers", "2", people=PEOPLE) as lockgate:
        lockgate.start()
        yield lockgate


@pytest.fixture
def lockgate(running: Lockgate) -> Iterator[Lockgate]:
    """Serving, before and after, with a service that waits where it is to wait."""
    running.forget()
    yield running
    resume(running)


def node(lockgate: Lockgate) -> Any:
    return lockgate.control("GET", NODE, who="idle").json


def drain(lockgate: Lockgate, reason: str = "") -> Any:
    return lockgate.control("POST", f"{NODE}/drain", {"reason": reason}, who="otto").json


def resume(lockgate: Lockgate) -> Any:
    return lockgate.control("POST", f"{NODE}/resume", who="otto").json


def drained(lockgate: Lockgate) -> bool:
    return bool(node(lockgate)["state"] == "drained")


@contextmanager
def asking(lockgate: Lockgate, path: str) -> Iterator[list[Answer]]:
    """While a caller waits for the service, which answers by the end of it."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(lockgate.ask("ann", "GET", path)))
    thread.start()
    try:
        until(lambda: lockgate.arrived(path), "the request was at the service")
        yield answers
    finally:
        lockgate.release()
        thread.join(TIMEOUT_S)


@contextmanager
def streaming(lockgate: Lockgate) -> Iterator[None]:
    """While a caller has events sent to it."""
    connection = http.client.HTTPConnection("127.0.0.1", lockgate.gateway, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/events/x", headers={"authorization": f"Bearer {lockgate.keys['ann']}"})
        with connection.getresponse() as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            yield
    finally:
        connection.close()


def test_what_is_under_way_ends_and_what_comes_is_told_to_go(lockgate: Lockgate) -> None:
    """Not ready, by name; a slow request and a stream are shown until they end; new requests are answered on connections that end; it
    serves again when it is told to. All of it is on record once."""
    before = len(lockgate.system("node_drained"))
    with asking(lockgate, "/hold/x") as answers, streaming(lockgate):
        told = drain(lockgate, "a new disk")
        assert (told["state"], told["by"], told["reason"], told["under_way"]["requests"]) == ("draining", "otto", "a new disk", 1)
        assert told["under_way"]["streams"] == 1
        assert drain(lockgate, "once more")["reason"] == "a new disk"
        ready = ask(lockgate.ports["control"], "GET", "/readyz")
        (check,) = [each for each in ready.json["checks"] if not each["ok"]]
        (record,) = lockgate.system("node_drained")[before:]
        assert (ready.status, check["name"], check["detail"]) == (503, "draining", f"since {told['since']}, by {record['by']}")
        assert ask(lockgate.ports["decide"], "GET", "/readyz").status == 503
        assert "lockgate_draining 1.0" in lockgate.control("GET", "/metrics").body.decode()
        new = lockgate.ask("ann", "GET", "/echo/1")
        assert (new.status, new.fields["connection"]) == (200, "close")
        assert lockgate.decide("ann", {"method": "GET", "path": "/items/1"}).fields["connection"] == "close"
        until(lambda: node(lockgate)["under_way"]["requests"] == 1, "nothing but the slow one was under way")
    assert (answers[0].status, answers[0].fields["connection"]) == (200, "close")
    assert resume(lockgate)["state"] == "serving"
    assert resume(lockgate)["since"] is None
    until(lockgate.ready, "it was ready again")
    assert "connection" not in lockgate.ask("ann", "GET", "/echo/2").fields
    assert len(lockgate.system("node_drained")) == len(lockgate.system("node_resumed")) == before + 1
    until(lambda: not any(node(lockgate)["under_way"].values()), "nothing was under way")
    done = [each for each in lockgate.system("control_action") if each["permission"] == "nodes.drain"]
    assert {each["by"] for each in done} == {record["by"]}
    assert "a new disk" not in str(lockgate.leaves())


def test_it_stays_drained_with_other_workers_and_another_configuration(lockgate: Lockgate) -> None:
    """Workers that are killed and a changed catalog that is taken up leave the node out of service."""
    drain(lockgate)
    killed = set(lockgate.workers())
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not killed & set(lockgate.workers()) and node(lockgate)["workers_heard"] == 2, "both workers were replaced")
    before = lockgate.control("GET", "/v1/config").json["config_digest"]
    catalog = load(lockgate.yard.folder / "catalog.yaml")
    save(lockgate.yard.folder / "catalog.yaml", {**catalog, "name": "changed"})
    until(lambda: lockgate.control("POST", "/v1/config/reload").json["config_digest"] != before, "the change was taken up")
    asked = until(lambda: _answered(lockgate), "the new workers served")
    assert asked == {(200, "close")}
    assert (lockgate.ready(), node(lockgate)["state"] in ("draining", "drained")) == (False, True)


def _answered(lockgate: Lockgate) -> set[tuple[int, str]]:
    try:
        return {(each.status, each.fields["connection"]) for each in (lockgate.ask("ann", "GET", f"/echo/{number}") for number in range(8))}
    except OSError:  # a worker that was killed had accepted it
        return set()


def test_it_is_for_who_may_and_for_this_node(lockgate: Lockgate) -> None:
    """A viewer is refused by the permission's name, another node by its own; the command line says all of it in words."""
    recorded = len(lockgate.system("node_drained"))
    refused = lockgate.control("POST", f"{NODE}/drain", who="idle")
    assert (refused.status, refused.code, "'nodes.drain'" in refused.json["detail"]) == (403, "permission_missing", True)
    assert lockgate.control("POST", "/v1/nodes/other/drain", who="otto").code == "node_elsewhere"
    assert len(lockgate.system("node_drained")) == recorded
    place = {"LOCKGATE_CONTROL_URL": f"http://127.0.0.1:{lockgate.ports['control']}", "LOCKGATE_KEY": lockgate.keys["otto"]}
    with asking(lockgate, "/hold/y"):
        late = cli("nodes", "drain", "--reason", "for a kernel", "--wait", "--timeout", "0", **place)
        assert (late.returncode, "1 requests under way" in late.stdout) == (3, True), late.stderr
    waited = cli("nodes", "drain", "--wait", **place)
    assert (waited.returncode, "drained: nothing under way" in waited.stdout, "for a kernel" in waited.stdout) == (0, True, True)
    assert "serving" in cli("nodes", "resume", **place).stdout


def test_an_operator_drains_and_lets_serve_again(lockgate: Lockgate) -> None:
    """Signed in, by keyboard alone: drains with a reason while a slow request is under way, sees it end and that the node may be stopped,
    and lets it serve. Axe finds nothing in any state."""
    needs("playwright", "pip install playwright")
    needs("axe_playwright_python", "pip install axe-playwright-python")
    from playwright.sync_api import expect  # the other tests need no browser

    from tests.e2e.browsing import CHROMIUM, NARROW, axe, browser, seated

    needs_file(CHROMIUM, "apt install chromium")
    with browser() as chromium, seated(chromium, lockgate, None) as page:
        links = local_links(parse(read(lockgate.yard.config, {}), {}), SystemClock())
        assert links is not None
        page.goto(f"/console/sign-in/local?token={links.token()}")
        with page.expect_navigation():
            page.get_by_role("button", name="Sign in").press("Enter")
        page.goto("/console/health")
        standing = page.get_by_role("region", name="Draining")
        assert (page.locator("#now > .state").inner_text(), standing.count()) == ("Ready", 0)
        with asking(lockgate, "/hold/z"):
            page.get_by_role("button", name="Drain this node").press("Enter")
            page.get_by_label("Reason").press_sequentially("a new disk")
            assert axe(page) == []
            ordered(page, "Drain")
            expect(page.get_by_role("status")).to_contain_text("takes up nothing new")
            expect(standing).to_contain_text("Draining: 1 request under way")
            expect(standing).to_contain_text("a new disk")
            assert (page.locator("#now > .state").inner_text(), axe(page)) == ("Not ready", [])
        expect(standing).to_contain_text("may be stopped", timeout=20_000)
        page.set_viewport_size(NARROW)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        assert axe(page) == []
        page.get_by_role("button", name="Let it serve again").press("Enter")
        ordered(page, "Serve again")
        expect(page.locator("#now > .state")).to_have_text("Ready")
        assert standing.count() == 0
    assert [each["name"] for each in lockgate.system("node_drained")[-1:]] == [node(lockgate)["name"]]


def ordered(page: Any, what: str) -> None:
    """From where the reason is written, on to the dialog's button."""
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == what
    with page.expect_navigation():
        page.keyboard.press("Enter")


@pytest.mark.slow
def test_a_node_is_taken_out_of_two_under_load_and_no_request_fails(tmp_path: Path) -> None:
    """Behind a balancer that asks for readiness: drained, stopped once it says so, and started again, while callers ask without a pause."""
    with prepared(tmp_path / "one", people=PEOPLE) as first, prepared(tmp_path / "two", people=PEOPLE) as second:
        (second.state / "identity.sqlite").write_bytes((first.state / "identity.sqlite").read_bytes())
        second.keys = first.keys
        first.start()
        second.start()
        with Balancer([first, second]) as balancer:
            until(lambda: balancer.served(first) > 50 and balancer.served(second) > 50, "both were asked")
            drain(first, "to be replaced")
            until(lambda: drained(first), "it was drained")
            last = balancer.served(first)
            assert first.process.stop() == 0
            before = balancer.served(second)
            until(lambda: balancer.served(second) > before + 50, "the other one served on")
            assert balancer.served(first) == last
            first.start()
            until(lambda: balancer.served(first) > last + 50, "it was asked again, for a node that is started serves")
        assert balancer.failed == []


class Balancer:
    """Callers that ask, each over connections that it keeps, whichever node was ready when it was asked last."""

    def __init__(self, nodes: list[Lockgate], callers: int = 4) -> None:
        self._nodes = nodes
        self._ready = set(range(len(nodes)))
        self._served = [0] * len(nodes)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._look),
            *(threading.Thread(target=self._call, args=(each,)) for each in range(callers)),
        ]
        self.failed: list[str] = []

    def served(self, node: Lockgate) -> int:
        return self._served[self._nodes.index(node)]

    def __enter__(self) -> Balancer:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for each in self._threads:
            each.join(TIMEOUT_S)

    def _look(self) -> None:
        while not self._stop.wait(0.2):
            for index, each in enumerate(self._nodes):
                (self._ready.add if _is_ready(each) else self._ready.discard)(index)

    def _call(self, number: int) -> None:
        kept: dict[int, http.client.HTTPConnection] = {}
        while not self._stop.is_set():
            number += 1
            ready = sorted(self._ready)
            index = ready[number % len(ready)] if ready else 0
            connection = kept.setdefault(index, http.client.HTTPConnection("127.0.0.1", self._nodes[index].gateway, timeout=TIMEOUT_S))
            try:
                connection.request("GET", f"/echo/{number}", headers={"authorization": f"Bearer {self._nodes[index].keys['ann']}"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                kept.pop(index).close()
                continue
            self._served[index] += 1
            if answer.status != 200:
                self.failed.append(str(answer.status))
        for connection in kept.values():
            connection.close()


def _is_ready(node: Lockgate) -> bool:
    try:
        return node.ready()
    except AssertionError:  # it has ended
        return False
