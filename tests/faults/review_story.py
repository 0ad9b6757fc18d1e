"""What people do with a held request, against a real `lockgate serve` that is killed at one moment of it and started again.

Whoever was not answered asks for the very same once more, as a client does: with the version that it had seen. So each of these steps
either had happened, and is answered as the first time, or it happens now.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tests.contract.webhook_receiver import SECRET
from tests.e2e.nodes import Cluster, cluster, command
from tests.e2e.processes import Process, until
from tests.e2e.running import PEOPLE, Lockgate, Person, free_ports, listens, prepared
from tests.e2e.wire import Answer, ask
from tests.e2e.yard import load, save
from tests.postgres_server import PostgresServer

ANSWERS = ("gateway", "control:reviews.answer")
CAST = (
    *(each for each in PEOPLE if each.id not in ("ann", "checkout", "mia")),
    Person("ann", ("employee",), ANSWERS),
    Person("mia", ("employee", "manager", "reviewer"), ANSWERS),
    Person("checkout", ("employee",), ("decide", "control:reviews.follow")),
    Person("nora", ("manager", "reviewer"), ("control",)),
    Person("cleo", ("chief", "reviewer"), ("control",)),
    Person("carl", ("chief", "reviewer"), ("control",)),
)
LONG = {"quorum": 2, "expires": "24h", "escalate_to": ["chief"], "modify": ["/amount"], "reroute": ["once"]}
SHORT = {"quorum": 1, "expires": "14s", "claim": "3s", "respond": "3s", "escalate": "8s", "escalate_to": ["chief"]}
Did = tuple[str, str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Story:
    """`does`: who does what, in order; `events`: what the ledger has in the end, without the outcome; `ends`: the last state."""

    path: str
    does: tuple[Did, ...]
    events: tuple[str, ...]
    ends: str
    who: str = "ann"


def does(who: str, what: str, **said: Any) -> Did:
    return who, what, said


APPROVAL = (does("max", "approve"), does("nora", "approve"))
ENDORSED = ("held", "endorsed", "approved", "dispatched")
PAID = Story("/pay/1", APPROVAL, ENDORSED, "done")
PAID_ONCE = Story("/safely/1", APPROVAL, ENDORSED, "done")
HANDED_ON = Story(
    "/pay/2",
    (
        does("max", "claim"),
        does("max", "claim"),
        does("max", "release"),
        does("max", "ask", question="For whom?"),
        does("ann", "say", text="For Zoe."),
        does("max", "escalate"),
        does("cleo", "approve"),
        does("carl", "modify", changes={"/amount": 4}),
        does("cleo", "reroute", route="once"),
        does("carl", "approve"),
    ),
    (
        *("held", "claimed", "renewed", "unclaimed", "information_asked", "information_given", "escalated"),
        *("endorsed", "modified", "rerouted", "approved", "dispatched"),
    ),
    "done",
)
REJECTED = Story("/pay/3", (does("max", "reject"),), ("held", "rejected"), "rejected")
CANCELLED = Story("/pay/4", (does("ann", "cancel"),), ("held", "cancelled"), "cancelled")
LATE = Story("/urgent/1", (does("max", "claim"),), ("held", "claimed", "lapsed", "escalated", "expired"), "expired", "mia")
UNANSWERED = Story("/urgent/2", (does("max", "ask", question="Why?"),), ("held", "information_asked", "expired"), "expired", "mia")


@dataclass(slots=True)
class Stage:
    """A Lockgate that can be told when to die, the service behind it, and who is told of held requests. `tries` counts the starts."""

    lockgate: Lockgate
    moment: Path
    receiver: int
    tries: int = 1

    def dies(self, moment: str) -> None:
        self.moment.write_text(moment)

    def revived(self) -> None:
        """Started again, after it has died as it should. The machine's other processes are gone with it."""
        assert self.lockgate.process.wait() == -9, self.lockgate.process.said[-2000:]
        self.lockgate.process.kill()
        self.moment.unlink()
        self.lockgate.start()
        self.tries += 1

    def answered(self, asks: Callable[[], Answer]) -> Answer:
        """Asked again, once, where it died meanwhile."""
        try:
            return asks()
        except (OSError, HTTPException):
            self.revived()
            return asks()

    def hold(self, story: Story) -> str:
        """Where its caller heard nothing it asks again, and that is another request."""
        asks = lambda: self.lockgate.ask(story.who, "POST", story.path, {"amount": 5})  # noqa: E731  # asked up to twice
        answer = self.answered(asks)
        assert answer.status == 202, answer
        return answer.decision

    def step_waits(self, token: str) -> str:
        """A step of an engine asks for a decision, and is to be resumed."""
        wanted = {"method": "POST", "path": "/pay/6", "body": {"amount": 5}, "hold": True, "resume": {"token": token}}
        answer = self.answered(lambda: self.lockgate.decide("checkout", wanted))
        assert answer.json["outcome"]["result"] == "held", answer
        return str(answer.json["id"])

    def undecided(self) -> set[str]:
        found = self.answered(lambda: self.lockgate.control("GET", "/v1/reviews?state=open&limit=500", who="max"))
        return {each["id"] for each in found.json["reviews"]}

    def play(self, story: Story, review: str) -> None:
        for who, what, said in story.does:
            seen = self.shown(review)
            wanted = {"content_digest": seen["content_digest"]} if what in ("approve", "modify", "reroute") else {}
            again = partial(self._post, review, who, what, {**wanted, **said}, seen)
            answer = self.answered(again)
            if answer.status != 200 and answer.code == "review_elsewhere":  # a node that died has yet to be taken for gone
                answer = until(lambda again=again: (said := again()).status == 200 and said, "the other node went on", 60)
            assert answer.status == 200, (what, answer)

    def _post(self, review: str, who: str, what: str, body: Any, seen: Any) -> Answer:
        """`say` is an answer through the gateway; all else is asked of the control API."""
        path, fields = f"/v1/reviews/{review}/{what}", {"If-Match": f'"{seen["version"]}"'}
        if what == "say":
            return self.lockgate.ask(who, "POST", f"/.lockgate/reviews/{review}", body, **fields)
        return ask(self.lockgate.ports["control"], "POST", path, self.lockgate.keys[who], body, **fields)

    def shown(self, review: str) -> Any:
        return self.answered(lambda: self.lockgate.control("GET", f"/v1/reviews/{review}", who="max")).json

    def ended(self, review: str, *states: str) -> str:
        """The last state, also where it died on the way there."""

        def found() -> str | bool:
            state = str(self.shown(review)["state"])
            return state in states and self._died_if_it_should() and state

        return str(until(found, f"{review} was {' or '.join(states)}", 60))

    def _died_if_it_should(self) -> bool:
        """What happens after the last answer (a record, a mark, a notice) may be what it dies of, a moment later."""
        if self.moment.exists() and self.lockgate.process.ended is not None:
            self.revived()
        return not self.moment.exists()

    def died(self) -> None:
        until(self._died_if_it_should, "it had died and was there again", 60)

    def told(self, review: str, event: str) -> list[Any]:
        """What was told of this review, by who tells of it (`held`) and who resumes engines (`resume`)."""
        arrivals = [each for each in ask(self.receiver, "GET", "/_arrivals").json if review in each["body"]]
        return [each for each in arrivals if ('"ahead"' in each["body"]) == (event == "resume")]

    def nothing_to_tell(self) -> bool:
        return b"\nlockgate_notices_pending 0.0\n" in self.lockgate.control("GET", "/metrics").body

    def events(self, review: str) -> list[str]:
        """A death between a record and its mark has the same record come once more, byte by byte; it is one step."""
        leaves = {json.dumps(leaf, sort_keys=True): leaf for leaf in self._story(review)}
        return [leaf["event"] for leaf in leaves.values() if leaf["schema"] == "lockgate.review.v1"]

    def repeats(self, review: str) -> int:
        leaves = [json.dumps(leaf, sort_keys=True) for leaf in self._story(review)]
        return len(leaves) - len(set(leaves))

    def outcome(self, review: str) -> Any:
        def found() -> Any:
            return next((leaf["outcome"] for leaf in self._story(review) if leaf["schema"] == "lockgate.outcome.v1"), None)

        return until(found, "its outcome was recorded")

    def _story(self, review: str) -> list[Any]:
        return [leaf for leaf in self.leaves() if leaf.get("id") == review]

    def leaves(self) -> list[Any]:
        return self.lockgate.leaves()

    def verify(self) -> subprocess.CompletedProcess[str]:
        return self.lockgate.verify()


@dataclass(slots=True)
class Pair(Stage):
    """Two nodes of one database. Where the one dies, everybody turns to the other, and nobody starts it again meanwhile."""

    nodes: Cluster | None = None
    one: Lockgate | None = None
    two: Lockgate | None = None

    def revived(self) -> None:
        assert self.lockgate.process.wait() == -9, self.lockgate.process.said[-2000:]
        self.lockgate.process.kill()
        self.moment.unlink()
        assert self.two is not None
        self.lockgate = self.two
        self.tries += 1

    def both(self) -> None:
        assert self.one is not None
        self.lockgate = self.one
        if self.one.process.ended is not None:
            self.one.start()

    def leaves(self) -> list[Any]:
        assert self.nodes is not None
        return list(self.nodes.place.leaves())

    def verify(self) -> subprocess.CompletedProcess[str]:
        return command(self.lockgate, "audit", "verify")


@contextmanager
def staged(folder: Path, **changes: Any) -> Iterator[Stage]:
    with receiving(folder) as port, prepared(folder, "--workers", "1", people=CAST, review=_notify(port), **changes) as lockgate:
        _change(lockgate, port)
        moment = folder / "moment"
        lockgate.process = _mortal(lockgate, moment, folder / "nobody")
        lockgate.start()
        yield Stage(lockgate, moment, port)


@contextmanager
def paired(server: PostgresServer, folder: Path, **changes: Any) -> Iterator[Pair]:
    """Of two nodes the first can die."""
    with receiving(folder) as port, cluster(server, folder, people=CAST, review=_notify(port), **changes) as made:
        for node in made.nodes:
            _change(node, port)
        one, two = made.nodes
        moment = folder / "moment"
        one.process = _mortal(one, moment, folder / "nobody")
        # For its rounds, which are as quick, and leave to the other what that is to die of.
        two.process = _mortal(two, folder / "never", moment)
        made.start()
        yield Pair(one, moment, port, nodes=made, one=one, two=two)


@contextmanager
def receiving(folder: Path) -> Iterator[int]:
    (port,) = free_ports(1)
    receiver = Process([sys.executable, "-m", "tests.contract.webhook_receiver", str(port)], folder / "receiver.log")
    try:
        receiver.start()
        until(lambda: listens(port), "the receiver listened")
        yield port
    finally:
        receiver.kill()


def _mortal(lockgate: Lockgate, moment: Path, others: Path) -> Process:
    serve = [sys.executable, "-m", "tests.faults.mortal_serve", str(moment), str(others), *lockgate.process.command]
    return Process(serve, lockgate.process.log, lockgate.process.environment, lockgate.process.folder)


def _tells(port: int) -> dict[str, Any]:
    through = {"adapter": "webhook", "url": f"http://127.0.0.1:{port}/hook", "secrets": [SECRET], "insecure": True}
    return {**through, "allow_networks": ["127.0.0.0/8"]}


def _notify(port: int) -> dict[str, Any]:
    duty = {"through": _tells(port), "events": ["held"]}
    return {"link": "https://lockgate.example.com/console/reviews/{review}", "notify": {"duty": duty}}


def _change(lockgate: Lockgate, port: int) -> None:
    catalog, data = lockgate.yard.folder / "catalog.yaml", load(lockgate.yard.data)
    written = load(catalog)
    written["destinations"]["engine"] = _tells(port)
    written["routes"]["plain"]["resume"] = {"destination": "engine", "within": "1h"}
    written["intents"]["hurry"] = {"description": "Pays at once.", "risk": "critical", "route": "plain"}
    written["intents"]["single"] = {"description": "Pays once.", "risk": "high", "route": "once"}
    written["rules"] += [
        {"name": "safely", "match": {"method": "POST", "path": "/safely/{id}"}, "intent": "pay", "route": "once"},
        {"name": "single", "match": {"method": "POST", "path": "/single/{id}"}, "intent": "single"},
        {"name": "urgent", "match": {"method": "POST", "path": "/urgent/{id}"}, "intent": "hurry"},
    ]
    save(catalog, written)
    config = data["lockgate"]["config"]
    config["access"]["risks"]["critical"] = {"employee": ["*"]}
    config["review"]["levels"] |= {"high": LONG, "critical": SHORT}
    save(lockgate.yard.data, data)
