"""People hear of what is held, by the real process: also when it dies before anybody could be told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.contract.webhook_receiver import SECRET
from tests.e2e.processes import Process, until
from tests.e2e.running import Lockgate, cli, free_ports, listens
from tests.e2e.wire import ask
from tests.e2e.yard import load, save

Start = Callable[..., Lockgate]


def review(port: int, **changes: Any) -> dict[str, Any]:
    through = {"adapter": "webhook", "url": f"http://127.0.0.1:{port}/hook", "secrets": [SECRET], "insecure": True}
    duty = {"through": {**through, "allow_networks": ["127.0.0.0/8"]}, "events": ["held"], **changes}
    return {"link": "https://lockgate.example.com/console/reviews/{review}", "notify": {"duty": duty}}


def told(port: int) -> list[dict[str, Any]]:
    arrivals = ask(port, "GET", "/_arrivals").json
    return [json.loads(each["body"])["data"] | {"id": each["fields"]["webhook-id"]} for each in arrivals]


def metric(lockgate: Lockgate, result: str) -> float:
    page = lockgate.control("GET", "/metrics").body.decode()
    wanted = f'lockgate_notices_total{{notifier="duty",result="{result}"}}'
    return next((float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(wanted)), -1.0)


def test_what_was_held_before_a_kill_is_told_of_after_it(start: Start, tmp_path: Path) -> None:
    """Holding does not wait for a receiver that is away; the notice survives `kill -9`, and has nothing of who asked."""
    (port,) = free_ports(1)
    lockgate = start(review=review(port))
    answer = lockgate.ask("ann", "POST", "/pay/1", {"amount": 4711})
    assert answer.status == 202
    until(lambda: metric(lockgate, "postponed") >= 1, "telling had been tried")
    lockgate.process.kill()
    receiver = Process([sys.executable, "-m", "tests.contract.webhook_receiver", str(port)], tmp_path / "receiver.log")
    receiver.start()
    try:
        until(lambda: listens(port), "the receiver listened")
        lockgate.start()
        (notice,) = until(lambda: told(port), "it was told")
        assert (notice["review"], notice["intent"], notice["risk"], notice["route"]) == (answer.decision, "pay", "high", "plain")
        assert notice["link"] == f"https://lockgate.example.com/console/reviews/{answer.decision}"
        assert not {"ann", "4711"} & set(json.dumps(notice).replace('"', " ").split())
        until(lambda: metric(lockgate, "sent") == 1, "that it was told is counted")
        assert metric(lockgate, "failed") == 0
    finally:
        receiver.kill()


def test_what_is_wrong_with_it_is_told_at_load(start: Start) -> None:
    """In a sentence with file and line; what serves goes on."""
    lockgate = start()
    document = load(lockgate.yard.config)
    wrong = review(1, routes=["nowhere.*"], through={"adapter": "slack", "url": "http://hooks.example.com/x"})
    save(lockgate.yard.config, document | {"review": wrong | {"link": "https://lockgate.example.com/console"}})
    done = cli("check", "--config", str(lockgate.yard.config))
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "must be a URL with '{review}' where the review's id belongs" in said
    save(lockgate.yard.config, document | {"review": wrong})
    said = (done := cli("check", "--config", str(lockgate.yard.config))).stdout + done.stderr
    assert "The notifier's 'url' must be https, unless `insecure` is set." in said
    assert "No route is called 'nowhere.*'." in said
