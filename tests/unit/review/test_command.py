"""`lockgate review` against a control API with real files behind it, and an upstream that answers over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite.api_keys import SqliteApiKeys
from router.cli.main import run
from router.control.app import create_app
from router.control.key_orders import key_order
from router.control.services import ControlServices
from router.decision import Route
from router.errors import ReviewError
from router.identity.key_service import KeyService
from router.ports import Outbound
from router.processes.evidence import Evidence, open_evidence
from router.processes.server import server, started
from router.review.holding import Holding, Spans
from router.review.packing import pack_held
from router.system import SystemClock
from router.wiring.reviews import Reviews, open_reviews
from router.workspace import Workspace, parse, read
from tests.unit.control.parts import Process, Trail
from tests.unit.review.parts import REQUEST, RITA, to_review
from tests.unit.review.test_machine import PAYMENT

POLICY = """package lockgate.decision
result := {
	"effect": "review",
	"reasons": [{"code": "risk.high"}],
	"obligations": [{"name": "require_review", "params": {"reviewers": ["manager"], "quorum": 1}}],
}
"""
HOSTILE = "pay \x1b[2Jnow \u202etoday"


@dataclass
class Running:
    url: str
    key: str
    reviews: Reviews
    workspace: Workspace
    evidence: Evidence
    folder: Path

    async def held(self, number: int = 1, text: str = "pay <iban>", outbound: Outbound = REQUEST, **wanted: Any) -> str:
        decision = to_review(number, quorum=1, reviewers=["manager"], **wanted)
        signals = replace(decision.signals, masked_text=text)
        decision = replace(decision, route=Route("ask", "rooms", "intent"), signals=signals)

        class Wire:
            hold = staticmethod(lambda held: self.reviews.hold(pack_held(held)))

        await Holding(Wire(), self.evidence.keys, SystemClock(), Spans(3600.0)).hold(decision, outbound)
        return decision.id

    async def says(self, *arguments: str) -> int:
        """The exit status of `lockgate review …`, run beside the loop that serves it."""
        return await asyncio.to_thread(run, ["review", *arguments, "--url", self.url, "--key", self.key])


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), b"0")
    await reader.readexactly(int(length))
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 15\r\n\r\npaid \x1b[2J twice")
    await writer.drain()
    writer.close()


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    assert run(["init", str(tmp_path)]) == 0
    (tmp_path / "policies/lockgate/decision.rego").write_text(POLICY)
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as upstream:
        environment = {"ROOMS_URL": f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}"}
        workspace, clock = parse(read(tmp_path, environment), environment), SystemClock()
        evidence = await open_evidence(workspace, clock)
        reviews = await open_reviews(workspace, evidence, clock)
        keys = SqliteApiKeys(tmp_path / "control.sqlite", clock)
        keys.open()
        service = KeyService(keys, clock)
        _, key = service.create(key_order("rita", "rita", roles=("reviewer", "manager"), scopes=("control",)), "test")
        sock = socket.create_server(("127.0.0.1", 0))
        app = create_app(ControlServices(Trail(), reviews.api, service, Process()))  # type: ignore[arg-type]  # of these only reviews are asked
        serving = server(app, grace_s=1)
        task = asyncio.create_task(serving.serve([sock]))
        await started(serving, task)
        yield Running(f"http://127.0.0.1:{sock.getsockname()[1]}", key, reviews, workspace, evidence, tmp_path)
        serving.stop()
        await task
        keys.close()
        await reviews.close()
        await evidence.close()


def read_json(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


async def test_a_request_goes_from_the_list_to_the_upstream(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """Listed, shown with its text, approved by its full digest, and answered."""
    review_id = await running.held()
    capsys.readouterr()
    assert await running.says("list") == 0
    assert review_id in capsys.readouterr().out
    assert await running.says("approve", review_id, "--comment", "looks right") == 0
    told = capsys.readouterr()
    assert "pay <iban>" in told.err
    assert "The request is done" in told.out
    assert await running.says("show", review_id, "--json") == 0
    shown = read_json(capsys)
    assert (shown["state"], shown["reply"]["status"], shown["history"][1]["comment"]) == ("done", 200, "looks right")
    assert await running.says("list") == 0
    assert "No request waits" in capsys.readouterr().out


async def test_what_may_be_changed_is_shown(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """As `modify --set` takes it; of a request whose values nobody may change one sentence."""
    review_id = await running.held(outbound=PAYMENT, modify=["/amount"])
    fixed = await running.held(2)
    capsys.readouterr()
    assert await running.says("values", review_id) == 0
    assert capsys.readouterr().out == "/amount=4711\n"
    assert await running.says("values", review_id, "--json") == 0
    assert read_json(capsys)["values"] == [{"pointer": "/amount", "kind": "number", "value": 4711}]
    assert await running.says("values", fixed) == 2
    assert "Policy does not let a reviewer change anything of it." in capsys.readouterr().err


async def test_a_rejection_is_told(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """And a second answer refused, in one sentence."""
    review_id = await running.held()
    capsys.readouterr()
    assert await running.says("reject", review_id, "--json") == 0
    assert read_json(capsys)["state"] == "rejected"
    assert await running.says("approve", review_id) == 2
    assert "is rejected and can no longer be approved" in capsys.readouterr().err


async def test_what_others_wrote_does_not_steer_the_terminal(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences and invisible direction marks are spelt out, in requests and in replies."""
    review_id = await running.held(text=HOSTILE)
    await running.says("approve", review_id)
    told = "".join(capsys.readouterr())
    assert r"pay \u001b[2Jnow \u202etoday" in told
    assert r"paid \u001b[2J twice" in told
    assert "\x1b[2J" not in told


@pytest.mark.parametrize(("answered", "status", "state"), [(b"n\n", 130, "pending"), (b"y\n", 0, "done")])
async def test_on_a_terminal_it_asks(running: Running, answered: bytes, status: int, state: str) -> None:
    """Shown first, then asked; a no sends nothing."""
    review_id = await running.held()
    near, far = os.openpty()
    arguments = ("review", "approve", review_id, "--url", running.url, "--key", running.key)
    command = "from router.cli.main import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", command, *arguments, stdin=far, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    os.write(near, answered)
    _, told = await asyncio.wait_for(process.communicate(), 60)
    os.close(near)
    os.close(far)
    assert b"Approve and send it?" in told
    assert process.returncode == status
    shown = await running.reviews.api.get(review_id)
    assert shown is not None
    assert shown["state"] == state


async def test_every_page_is_listed(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """There is no hidden row cap."""
    ids = [await running.held(number) for number in range(103)]
    capsys.readouterr()
    assert await running.says("list", "--json") == 0
    assert [row["id"] for row in read_json(capsys)] == ids
    assert running.reviews.pending == 103


async def test_another_digest_than_the_one_shown_is_refused(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """`--digest` binds an approval to what was looked at earlier."""
    review_id = await running.held()
    assert await running.says("approve", review_id, "--digest", "0" * 64) == 2
    assert "another content" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "nothing"), "There is no such held request."),
        (("show", "../keys"), "There is nothing here"),
        (("list", "--key", "wrong"), "lockgate: "),
        (("list", "--url", "http://127.0.0.1:1"), "No Lockgate answers at http://127.0.0.1:1"),
        (("list", "--url", "ftp://127.0.0.1"), "must be an http or https URL"),
        (("list", "--key", "a\nb"), "must be an API key"),
        (("list", "--state", "odd"), "'odd' is not one of"),
    ],
)
async def test_a_mistake_gets_a_sentence(
    running: Running, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    """And the exit status 2."""
    capsys.readouterr()
    given = [] if "--url" in arguments else ["--url", running.url]
    given += [] if "--key" in arguments else ["--key", running.key]
    assert await asyncio.to_thread(run, ["review", *arguments, *given]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


async def test_the_address_comes_from_the_configuration(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no URL is given, the control listener of the workspace is asked."""
    config = running.folder / "lockgate.yaml"
    config.write_text(config.read_text().replace("127.0.0.1:8081", running.url.removeprefix("http://")))
    assert await asyncio.to_thread(run, ["review", "list", "-c", str(running.folder), "--key", running.key]) == 0
    assert "No request waits" in capsys.readouterr().out


async def test_a_changed_configuration_is_followed(running: Running) -> None:
    """Destinations that did not change go on; a route that is gone is not taken."""
    review_id = await running.held()
    await running.reviews.follow(running.workspace)
    catalog = running.workspace.catalog
    routes = {name: route for name, route in catalog.routes.items() if name != "ask"}
    intents = {name: intent for name, intent in catalog.intents.items() if intent.route != "ask"}
    without = catalog.model_copy(update={"routes": routes, "intents": intents, "rules": []})
    await running.reviews.follow(replace(running.workspace, catalog=without))
    shown = await running.reviews.api.get(review_id)
    assert shown is not None
    with pytest.raises(ReviewError) as refused:
        await running.reviews.api.approve(review_id, RITA, "", shown["content_digest"])
    assert refused.value.code == "route_changed"


async def test_a_restart_goes_on_with_what_is_held(running: Running) -> None:
    """Held before, approved after."""
    review_id = await running.held()
    await running.reviews.close()
    again = await open_reviews(running.workspace, running.evidence, SystemClock())
    await again.resume()
    assert again.pending == 1
    shown = await again.api.get(review_id)
    assert shown is not None
    assert (await again.api.approve(review_id, RITA, "", shown["content_digest"]))["state"] == "done"
    await again.close()
