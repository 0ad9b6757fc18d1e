"""`control.tenants: own`: who belongs to a tenant gets that tenant's and no other's, over a real ledger that two tenants share."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from adapters.memory_reviews import MemoryReviews
from adapters.sqlite.subject_keys import KeyFile
from router.audit.keys.caching import CachedSubjectKeys
from router.audit.keys.files import read_sealing_key
from router.audit.questions.saved import FILE
from router.config.evidence import AuditConfig
from router.control.app import create_app
from router.control.key_orders import key_order
from router.control.permissions import ROLES, Permission
from router.control.services import ControlServices, Json, Page
from router.control.tenants import WITHIN, TenantReviews, within
from router.errors import RefusedError
from router.identity.key_service import KeyService
from router.wiring.questions import AuditQuestions
from tests.unit.control.parts import Process
from tests.unit.control.test_permissions import PUBLIC, call, routes
from tests.unit.docs import asked_ledger as asked
from tests.unit.docs.pages import ROOT
from tests.unit.identity.parts import HandClock, open_keys

Headers = Callable[..., dict[str, str]]


class Recorded:
    async def system(self, event: str, details: dict[str, Any]) -> None: ...


class Held:
    """Three held requests, one of another tenant's and one of nobody's."""

    tenants = ("halden", "lund", None)

    def __init__(self) -> None:
        self.done: list[str] = []

    async def list(self, state: str | None, cursor: str | None, limit: int, tenant: str | None = None) -> Page:
        listed = enumerate(self.tenants)
        return Page([{"id": f"r{number}", "tenant": each} for number, each in listed if tenant in (None, each)])

    async def get(self, review_id: str) -> Json | None:
        number = int(review_id[1:])
        times = {"created": "2026-01-01T00:00:00Z", "expires": "2026-01-02T00:00:00Z"}
        known = {"id": review_id, "tenant": self.tenants[number], "state": "pending", "content_digest": "a" * 64}
        return {**known, **times, "approvals": 0, "quorum": 1, "version": 1}

    async def approve(self, review_id: str, *more: Any, **named: Any) -> Json:
        self.done.append(review_id)
        found = await self.get(review_id)
        assert found is not None
        return found

    reject = approve

    async def values(self, review_id: str, *more: Any, **named: Any) -> Json:
        return {**await self.approve(review_id), "values": [], "more": False}

    async def modified(self, review_id: str, *more: Any, **named: Any) -> Json:
        place = {"risk": "low", "route": "plain", "destination": "service", "reviewers": [], "quorum": 1}
        becomes = {"content_digest": "b" * 64, "changes": [], "otherwise": False, "state": "approved", **place}
        return {**await self.values(review_id), "becomes": becomes}

    def __getattr__(self, name: str) -> Any:
        """Whatever else can be done to one."""
        return self.approve


class Deliveries:
    def __init__(self) -> None:
        self.done: list[str] = []

    async def list(self, state: str | None, cursor: str | None, limit: int, tenant: str | None = None) -> Page:
        assert tenant is not None, "asked for everybody's deliveries"
        self.done.append(f"{tenant} {cursor}")
        return Page([], None)

    async def get(self, delivery_id: str) -> Json:
        self.done.append(delivery_id)
        raise RefusedError("It is here.", "delivery_not_dead", 409)

    async def retry(self, delivery_id: str, by_key: str) -> Json:
        return await self.get(delivery_id)

    drop = retry


@dataclass
class Control:
    client: TestClient
    services: ControlServices
    ledger: asked.Ledger
    held: Held
    deliveries: Deliveries

    def get(self, path: str, headers: dict[str, str]) -> tuple[int, Any]:
        answer = self.client.get(path, headers=headers)
        return answer.status_code, answer.json()

    def decisions(self, path: str, headers: dict[str, str]) -> set[str]:
        status, told = self.get(path, headers)
        assert status == 200, told
        return {name for name, decision in self.ledger.ids.items() if decision in json.dumps(told)}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> asked.Ledger:
    folder = tmp_path_factory.mktemp("asked")
    shutil.copy(ROOT / "router" / "cli" / "starter" / FILE, folder / FILE)
    return asked.make(folder)


@pytest.fixture
def control(ledger: asked.Ledger, tmp_path: Path) -> Iterator[Control]:
    root, clock, held, deliveries = ledger.folder.parent, HandClock(), Held(), Deliveries()
    workspace: Any = SimpleNamespace(
        path=lambda name: root / name, ledger_store=None, config=SimpleNamespace(state="state", audit=AuditConfig())
    )
    subjects = CachedSubjectKeys(KeyFile(ledger.folder / "keys.sqlite", read_sealing_key(ledger.folder / "keys" / "sealing.key")))
    questions: Any = AuditQuestions(workspace, subjects, Recorded())
    store = open_keys(tmp_path, clock)
    reviews: Any = held
    services = ControlServices(questions, reviews, KeyService(store, clock), Process(), deliveries=deliveries, own_tenant=True)
    with TestClient(create_app(services), base_url="http://127.0.0.1:8081", raise_server_exceptions=False) as client:
        assert client.portal is not None
        client.portal.call(subjects.open)
        yield Control(client, services, ledger, held, deliveries)
        client.portal.call(questions.close)
        client.portal.call(subjects.close)
    store.close()


@pytest.fixture
def key(control: Control) -> Headers:
    def make(tenant: str | None, *roles: str, scopes: tuple[str, ...] = ("control",)) -> dict[str, str]:
        order = key_order("t", asked.AUDREY, roles=roles or ("admin",), scopes=scopes, tenant=tenant)
        return {"authorization": f"Bearer {control.services.keys.create(order, 'test')[1]}"}

    return make


def test_records_are_one_tenants(control: Control, key: Headers) -> None:
    """Each sees its own, also when the question asks for more; who belongs to none sees all."""
    path = "/v1/audit/records?limit=1000&kind=decision"
    lund, halden, everybody = (control.decisions(path, key(each)) for each in ("lund", "halden", None))
    assert lund == {"upstream"}
    assert len(halden) > 10
    assert "upstream" not in halden
    assert lund | halden == everybody
    assert control.decisions(f"{path}&where=tenant='halden' or 1=1".replace("1=1", "risk >= 'low'"), key("lund")) <= {"upstream"}
    assert control.decisions("/v1/audit/records?limit=1000", key("lund")) == {"upstream"}
    assert control.decisions(path, key("nobody")) == set()


def test_outcomes_go_with_their_decision(control: Control, key: Headers) -> None:
    """Of records that have no tenant themselves only those about the tenant's decisions; of system records none."""
    kinds = {each["leaf"]["schema"] for each in control.get("/v1/audit/records?limit=1000", key("lund"))[1]["records"]}
    assert kinds == {"lockgate.decision.v1", "lockgate.outcome.v1"}


def test_another_tenant_cannot_be_named(control: Control, key: Headers) -> None:
    """One sentence, and nothing asked."""
    for path in ("/v1/audit/records?tenant=halden", "/v1/audit/stats?tenant=halden"):
        status, told = control.get(path, key("lund"))
        assert (status, told["code"]) == (403, "tenant_scope_refused")


def test_statistics_count_one_tenants(control: Control, key: Headers) -> None:
    """Also by tenant."""
    told = control.get("/v1/audit/stats?by=tenant", key("lund"))[1]
    assert (told["records"], [each["tenant"] for each in told["groups"]]) == (1, ["lund"])


def test_drift_is_of_one_tenants_decisions(control: Control, key: Headers) -> None:
    """Intents, statuses and confidences alike; the page as well as the API."""
    lund, halden, everybody = (
        control.get("/v1/drift?span=366d&until=2026-01-01T00:00:00Z", key(each))[1] for each in ("lund", "halden", None)
    )
    assert lund["decisions"] == [1, 0]
    assert lund["decisions"][0] + halden["decisions"][0] == everybody["decisions"][0]
    for told in (lund, halden):
        assert sum(row["counts"][0] for row in told["mix"]["intents"]) == told["decisions"][0]
        assert sum(row["counts"][0] for row in told["statuses"]) == told["decisions"][0]
        assert sum(told["confidence"]["counts"][0]) <= told["decisions"][0]
    page = control.client.get("/console/drift/figures?span=90d&until=2026-01-01T00:00", headers=key("lund")).text
    assert "1 decisions from" in page


def test_one_decision_is_there_for_its_own_tenant_only(control: Control, key: Headers) -> None:
    """As a story and as evidence; another's looks as if it were not there, and a trace is no decision."""
    own, other = control.ledger.ids["upstream"], control.ledger.ids["plain"]
    for path in ("/v1/audit/decisions/{}", "/v1/audit/decisions/{}/bundle"):
        assert control.get(path.format(own), key("lund"))[0] == 200
        assert control.get(path.format(other), key("lund")) == control.get(path.format("none"), key("lund"))
        assert control.get(path.format(other), key("lund"))[0] == 404
        assert control.get(path.format(other), key(None))[0] == 200
    trace = re.findall(r'"trace_id": "([0-9a-f]{32})"', json.dumps(control.get(f"/v1/audit/decisions/{own}", key(None))[1]))[0]
    assert control.get(f"/v1/audit/decisions/{trace}", key(None))[0] == 200
    assert control.get(f"/v1/audit/decisions/{trace}", key("lund"))[0] == 404


def test_held_requests_are_one_tenants(control: Control, key: Headers) -> None:
    """Listed, shown, followed, approved and rejected."""
    assert [each["id"] for each in control.get("/v1/reviews", key("lund"))[1]["reviews"]] == ["r1"]
    body = {"content_digest": "a" * 64, "comment": "ok"}
    for number, status in ((0, 404), (1, 200), (2, 404)):
        assert control.get(f"/v1/reviews/r{number}", key("lund"))[0] == status
        for act in ("approve", "reject"):
            sent = body if act == "approve" else {"comment": "no"}
            answer = control.client.post(f"/v1/reviews/r{number}/{act}", headers=key("lund"), json=sent)
            assert answer.status_code == status, answer.text
    assert control.held.done == ["r1", "r1"]


def test_deliveries_are_one_tenants(control: Control, key: Headers) -> None:
    """By the decision that they are of; the list is asked for as the tenant's, whatever the cursor."""
    own, other = control.ledger.ids["upstream"], control.ledger.ids["plain"]
    assert control.get("/v1/deliveries?cursor=7", key("lund")) == (200, {"deliveries": [], "next": None})
    assert control.deliveries.done.pop() == "lund 7"
    for act in ("retry", "drop"):
        assert control.client.post(f"/v1/deliveries/{own}/{act}", headers=key("lund")).json()["code"] == "delivery_not_dead"
        assert control.client.post(f"/v1/deliveries/{other}/{act}", headers=key("lund")).json()["code"] == "delivery_not_found"
    assert control.deliveries.done == [own, own]


def test_everything_else_is_closed(control: Control, key: Headers) -> None:
    """Every endpoint there is, for an administrator of one tenant: what no tenant has of its own is refused by name, whatever its body;
    inside, what reaches everybody's is refused too, and nothing fails in a way that nobody foresaw."""
    headers, told = key("lund"), {}
    for route in routes(control.services):
        if route.path in PUBLIC or route.path.startswith("/console/"):
            continue
        status = call(control.client, route, headers)
        told[route.path] = status
        assert status != 500, route.path
        assert (status == 403) or route.permission in WITHIN, (route.path, status)
    assert sum(status == 403 for status in told.values()) > 20


def test_nothing_is_narrowed_where_it_is_not_asked_for(control: Control, key: Headers) -> None:
    """The default: a tenant says where somebody belongs."""
    control.client.app.state.services = ControlServices(  # type: ignore[attr-defined]  # the application under test
        control.services.audit, control.held, control.services.keys, Process()
    )
    assert "upstream" in control.decisions("/v1/audit/records?limit=1000", key("halden"))


def test_permissions_within_a_tenant_are_what_is_shown(control: Control, key: Headers) -> None:
    """What a page offers is what one may do."""
    told = set(control.get("/v1/identity", key("lund"))[1]["permissions"])
    assert told == WITHIN
    assert Permission.KEYS_WRITE in ROLES["admin"] - WITHIN


async def test_what_reviews_learn_later_is_narrowed_as_well() -> None:
    """Whatever method is added is about one request, and asked about this tenant's only."""

    class More(Held):
        async def reroute(self, review_id: str, to: str) -> str:
            return to

    narrowed = TenantReviews(More(), "lund")
    assert await narrowed.reroute("r1", "there") == "there"
    with pytest.raises(Exception, match="no such held request"):
        await narrowed.reroute("r0", "there")
    assert not hasattr(MemoryReviews, "reroute")


# What has nothing of any tenant's: how the listener is called, what is written, who may do what, who is signed in, the ledger's public key.
OF_ALL = {"hosts", "record", "sign_in", "acts", "own_tenant", "judge", "verifier", "alarm"}


class OneTenantsLabels:
    def __init__(self, tenant: str | None = None) -> None:
        self.tenant = tenant

    def within(self, tenant: str) -> OneTenantsLabels:
        return OneTenantsLabels(tenant)


def test_every_service_is_narrowed_or_taken_away(control: Control) -> None:
    """A service that is added is open to one tenant's people only once somebody says so here."""
    whole = replace(
        control.services,
        **{name: object() for name in ("governance", "indexing", "policies", "rollouts", "nodes", "node", "certificates", "objectives")},
    )
    whole = replace(whole, rules=dict, learning=object(), labels=OneTenantsLabels())  # type: ignore[arg-type]  # that there is one is enough
    whole = replace(whole, quality=OneTenantsLabels())  # type: ignore[arg-type]  # as above
    narrowed = within(whole, "lund", "audrey")
    same = {each.name for each in fields(whole) if getattr(whole, each.name) is getattr(narrowed, each.name)}
    assert same == OF_ALL
    assert isinstance(narrowed.labels, OneTenantsLabels)
    assert narrowed.labels.tenant == "lund"
    assert isinstance(narrowed.quality, OneTenantsLabels)
    assert narrowed.quality.tenant == "lund"
