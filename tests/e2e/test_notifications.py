"""People hear of what is held, by the real process: also when it dies before anybody could be told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router.errors import ConfigError
from router.workspace import parse, read
from tests.contract.webhook_receiver import SECRET
from tests.e2e.processes import Process, until
from tests.e2e.running import Lockgate, free_ports, listens
from tests.e2e.wire import ask
from tests.e2e.yard import NAMES, Yard, load, save

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


@pytest.mark.slow
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


def test_what_is_wrong_with_it_is_told_at_load(tmp_path: Path) -> None:
    """Each in a sentence, with the line."""
    yard = Yard(tmp_path, tmp_path / "state", {name: port for port, name in enumerate(NAMES, start=1)})
    yard.write()
    document = load(yard.config)
    wrong = review(1, routes=["nowhere.*"], through={"adapter": "slack", "url": "http://hooks.example.com/x"})

    def said(**changes: Any) -> str:
        save(yard.config, document | {"review": wrong | changes})
        with pytest.raises(ConfigError) as refused:
            parse(read(yard.config, {}), {})
        return str(refused.value)

    assert "must be a URL with '{review}' where the review's id belongs" in said(link="https://lockgate.example.com/console")
    assert "must be https, but for this machine's own" in said(link="http://lockgate.example.com/{review}")
    told = said()
    assert "The notifier's 'url' must be https, unless `insecure` is set." in told
    assert "No route is called 'nowhere.*'." in told
    assert "needs a 'link' where it has 'notify'" in said(link=None)
    assert "There is no notifier adapter 'slak'. Did you mean 'slack'?" in said(notify={"duty": {"through": {"adapter": "slak"}}})
