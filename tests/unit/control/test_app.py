from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from router.acting import acting_claims
from router.control.acts import Acts
from router.control.app import create_app
from router.control.guarded import GuardedRoute
from router.control.judging import Facts
from router.control.key_orders import check_escalation, key_order
from router.control.permissions import Permission
from router.control.services import AuditFilters, Check, ControlServices, Json
from router.control.times import moment, nanoseconds
from router.decision import Subject
from router.errors import AuditError, RefusedError
from tests.unit.control.conftest import Credential
from tests.unit.control.parts import DECISION, DIGEST, Process, Trail
from tests.unit.identity.parts import NOW, SECOND, HandClock


@dataclass(frozen=True)
class Asking:
    subject: Subject
    permissions: frozenset[Permission]
    facts: Facts


def refused(response: Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["type"] == "urn:lockgate:problem:" + body["code"]
    assert body["title"]
    assert body["status"] == response.status_code
    return response.status_code, body["code"]


def process(services: ControlServices) -> Process:
    assert isinstance(services.status, Process)
    return services.status


def test_health_is_public(client: TestClient) -> None:
    """A probe needs no key."""
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("checks", "status"),
    [((Check("policy", True),), 200), ((Check("policy", True), Check("audit", False, "audit_unavailable")), 503), ((), 503)],
)
def test_readiness_needs_every_check(services: ControlServices, client: TestClient, checks: tuple[Check, ...], status: int) -> None:
    """One failed check, or none at all, is not ready; each is named."""
    process(services).checks = checks
    response = client.get("/readyz")
    assert response.status_code == status
    assert [check["name"] for check in response.json()["checks"]] == [check.name for check in checks]


def test_metrics_are_prometheus_text(client: TestClient, credential: Credential) -> None:
    """The scrape endpoint answers in the text format."""
    response = client.get("/metrics", headers=credential("viewer"))
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert response.text == "lockgate_requests_total 1\n"


def test_records_are_asked_for_with_every_filter_and_the_reader(
    services: ControlServices, client: TestClient, credential: Credential
) -> None:
    """Filters arrive as values with units, and the trail learns who reads it."""
    params: dict[str, Any] = {
        "since": "1970-01-01T00:00:01.000002Z",
        "until": "1970-01-01T02:00:02+02:00",
        "subject": "alice",
        "intent": "pay",
        "route": "payments",
        "effect": "deny",
        "reason": "role_missing",
        "risk": "high",
        "tenant": "halden",
        "kind": "decision",
        "newest_first": "false",
        "result": "denied",
        "min_confidence": 0.5,
        "max_confidence": 0.9,
        "decision_id": DECISION,
        "trace_id": "f" * 32,
        "where": "risk = 'high'",
        "cursor": "c",
        "limit": 5,
    }
    response = client.get("/v1/audit/records", params=params, headers=credential("auditor", subject="audrey"))
    assert response.json() == {"records": [{"id": DECISION}], "next": "next-page", "complete_to": 7}
    expected = AuditFilters(
        since_ns=1_000_002_000,
        until_ns=2_000_000_000,
        subject="alice",
        intent="pay",
        route="payments",
        effect="deny",
        reason="role_missing",
        risk="high",
        tenant="halden",
        kind="decision",
        result="denied",
        min_confidence=0.5,
        max_confidence=0.9,
        decision_id=DECISION,
        trace_id="f" * 32,
        where="risk = 'high'",
    )
    assert isinstance(services.audit, Trail)
    assert services.audit.asked == [(expected, "c", 5, "audrey", False, "none")]


def test_statistics_and_saved_questions_are_asked_for(services: ControlServices, client: TestClient, credential: Credential) -> None:
    """With filters, groups and parameters as values."""
    auditor = credential("auditor", subject="audrey")
    assert client.get("/v1/audit/confidences?by=effect&bins=10", headers=auditor).json() == {"records": 0, "complete_to": 7, "groups": []}
    assert client.get("/v1/audit/stats?by=intent,verdict&bucket=1h&where=attempts>1", headers=auditor).json()["records"] == 1
    assert client.get("/v1/audit/queries", headers=auditor).json() == {"queries": [{"name": "risky"}]}
    assert client.get("/v1/audit/queries/risky?set=since=7d&set=who=a=b&limit=5", headers=auditor).json()["complete_to"] == 7
    assert refused(client.get("/v1/audit/queries/risky?set=since", headers=auditor)) == (400, "request_invalid")
    assert isinstance(services.audit, Trail)
    assert services.audit.asked == [
        (AuditFilters(), "effect", 10, "audrey"),
        (AuditFilters(where="attempts>1"), ("intent", "verdict"), "1h", "audrey"),
        ("risky", {"since": "7d", "who": "a=b"}, None, 5, "audrey", "none"),
    ]


def test_personal_fields_are_masked_without_the_permission(services: ControlServices, client: TestClient, credential: Credential) -> None:
    """An auditor sees that they are there; who was granted `audit.personal` besides sees them; nobody does who did not ask."""
    for scopes, personal, opening in (
        (("control",), "true", "masked"),
        (("control", "control:audit.personal"), "true", "opened"),
        (("control", "control:audit.personal"), "false", "none"),
    ):
        headers = credential("auditor", scopes=scopes)
        assert client.get(f"/v1/audit/decisions/{DECISION}?personal={personal}", headers=headers).json()["opening"] == opening
        client.get(f"/v1/audit/records?personal={personal}", headers=headers)
        assert isinstance(services.audit, Trail)
        assert services.audit.asked[-1][-1] == opening


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "min_confidence=2", "since=yesterday", "since=2026-01-01T00:00:00", "effect=maybe", "cursor=broken"]
)
def test_bad_filters_are_named(client: TestClient, credential: Credential, query: str) -> None:
    """A filter that cannot be read is refused, never ignored; a time needs its zone."""
    assert refused(client.get(f"/v1/audit/records?{query}", headers=credential("auditor"))) == (422, "request_invalid")


def test_a_decision_is_found_or_not(client: TestClient, credential: Credential) -> None:
    """An unknown decision is a 404 problem."""
    headers = credential("auditor")
    assert client.get(f"/v1/audit/decisions/{DECISION}", headers=headers).json()["id"] == DECISION
    assert refused(client.get("/v1/audit/decisions/none", headers=headers)) == (404, "not_found")
    assert refused(client.get("/v1/audit/decisions/lost", headers=headers)) == (404, "decision_unknown")
    assert refused(client.get("/v1/audit/decisions/down", headers=headers)) == (503, "audit_unavailable")


def test_a_bundle_is_made_or_not_yet(client: TestClient, credential: Credential) -> None:
    """An unknown decision is a 404, one that no checkpoint covers yet a conflict; who asks is told to the trail."""
    headers = credential("auditor", subject="audrey")
    path = "/v1/audit/decisions/{}/bundle"
    told = client.get(path.format(DECISION), params={"checkpoint": "a\n\nb"}, headers=headers).json()
    assert told == {"decision": DECISION, "outside": "a\n\nb", "reader": "audrey"}
    assert refused(client.get(path.format("none"), headers=headers)) == (404, "not_found")
    assert refused(client.get(path.format("new"), headers=headers)) == (409, "checkpoint_pending")
    assert refused(client.get(path.format(DECISION), headers=credential("reviewer"))) == (403, "permission_missing")


def test_an_approval_names_the_content(client: TestClient, credential: Credential) -> None:
    """Another digest is a conflict; the right one approves, once."""
    headers = credential("reviewer", subject="rita")
    assert refused(client.post("/v1/reviews/r1/approve", json={"content_digest": "b" * 64}, headers=headers)) == (409, "content_changed")
    assert refused(client.post("/v1/reviews/r1/approve", json={}, headers=headers)) == (422, "request_invalid")
    assert client.post("/v1/reviews/r1/approve", json={"content_digest": DIGEST}, headers=headers).json()["state"] == "approved"
    assert refused(client.post("/v1/reviews/r1/reject", json={}, headers=headers)) == (409, "already_decided")


def test_nobody_approves_their_own_request(client: TestClient, credential: Credential) -> None:
    """The reviewer is the key's subject; a body cannot say otherwise."""
    body = {"content_digest": DIGEST}
    assert refused(client.post("/v1/reviews/r1/approve", json=body, headers=credential("reviewer", subject="alice"))) == (
        403,
        "self_approval",
    )
    named = {**body, "reviewer": "rita"}
    assert refused(client.post("/v1/reviews/r1/approve", json=named, headers=credential("reviewer", subject="alice"))) == (
        422,
        "request_invalid",
    )


def test_a_review_is_found_or_not(client: TestClient, credential: Credential) -> None:
    """An unknown review is a 404 problem for reading and for deciding."""
    headers = credential("reviewer")
    assert client.get("/v1/reviews?state=pending", headers=headers).json()["reviews"] == [{"id": "r1", "state": "pending"}]
    assert refused(client.get("/v1/reviews/r9", headers=headers)) == (404, "review_not_found")
    assert refused(client.post("/v1/reviews/r9/reject", json={}, headers=headers)) == (404, "review_not_found")


def test_a_key_lives_from_creation_to_revocation(client: TestClient, credential: Credential) -> None:
    """Made over the API it works at once, is listed without its secret, and stops at once when revoked."""
    admin = credential("admin", subject="root")
    made = client.post("/v1/keys", json={"name": "scrape", "subject": "prom", "scopes": ["control:metrics.read"]}, headers=admin)
    assert made.status_code == 201
    plain, key_id = made.json()["key"], made.json()["id"]
    assert client.get("/metrics", headers={"x-api-key": plain}).status_code == 200
    listed = client.get("/v1/keys", headers=admin)
    assert plain[13:] not in listed.text
    assert {"id": key_id, "created_by": "root"}.items() <= listed.json()["keys"][-1].items()
    assert client.delete(f"/v1/keys/{key_id}", headers=admin).status_code == 204
    assert refused(client.get("/metrics", headers={"x-api-key": plain})) == (401, "credential_revoked")
    assert refused(client.delete("/v1/keys/abcdefgh", headers=admin)) == (404, "not_found")


def recording(services: ControlServices, broken: bool = False) -> tuple[TestClient, list[tuple[str, Json]]]:
    recorded: list[tuple[str, Json]] = []

    async def record(event: str, details: Json) -> None:
        if broken:
            raise AuditError("The ledger does not answer.")
        recorded.append((event, details))

    return TestClient(create_app(replace(services, record=record)), base_url="http://127.0.0.1:8081"), recorded


def test_what_happens_to_keys_is_recorded(services: ControlServices, credential: Credential) -> None:
    """The ledger learns which key made or revoked which, for whom and what it may do, and nothing personal."""

    async def pseudonym(subject: str) -> str:
        return f"key-of-{subject}"

    async def nothing(event: str, details: Json) -> None:
        pass

    client, recorded = recording(replace(services, acts=Acts(nothing, pseudonym)))
    admin = credential("admin", subject="root")
    made = client.post("/v1/keys", json={"name": "n", "subject": "s", "roles": ["clerk"], "scopes": ["gateway"]}, headers=admin).json()
    client.delete(f"/v1/keys/{made['id']}", headers=admin)
    by = admin["authorization"][11:19]
    assert recorded == [
        (
            "key_created",
            {"key": made["id"], "scopes": ["gateway"], "roles": ["clerk"], "expires": False, "for": "key-of-s", "by_key": by},
        ),
        ("key_revoked", {"key": made["id"], "by_key": by}),
    ]


def test_without_a_ledger_no_key_is_handed_out_and_any_can_be_revoked(services: ControlServices, credential: Credential) -> None:
    """A failed record withholds the secret, and does not keep a stolen key alive."""
    client, _ = recording(services, broken=True)
    admin = credential("admin")
    response = client.post("/v1/keys", json={"name": "n", "subject": "s", "scopes": ["gateway"]}, headers=admin)
    assert refused(response) == (503, "audit_unavailable")
    assert "lgk_" not in response.text
    stored = services.keys.all()[-1]
    assert client.delete(f"/v1/keys/{stored.id}", headers=admin).status_code == 503
    assert services.keys.all()[-1].revoked_ns is not None


def test_a_control_key_expires(client: TestClient, credential: Credential, clock: HandClock) -> None:
    """An expiry that was ordered is kept."""
    wanted = {"name": "n", "subject": "s", "scopes": ["control:metrics.read"], "expires": "2026-12-31T00:00:00Z"}
    plain = client.post("/v1/keys", json=wanted, headers=credential("admin")).json()["key"]
    clock.now = NOW + 365 * 86_400 * SECOND
    assert refused(client.get("/metrics", headers={"x-api-key": plain})) == (401, "credential_expired")


def test_a_key_cannot_make_a_stronger_one(client: TestClient, credential: Credential) -> None:
    """The permission to make keys is not the permission to become an administrator."""
    maker = credential(scopes=("control:keys.write",))
    wanted = {"name": "n", "subject": "s", "roles": ["admin"], "scopes": ["control"]}
    assert refused(client.post("/v1/keys", json=wanted, headers=maker)) == (403, "privilege_escalation")
    assert client.post("/v1/keys", json={**wanted, "scopes": ["gateway"]}, headers=maker).status_code == 201


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"subject": "olga"}, 201),
        ({"subject": "olga", "roles": ["chief"]}, 403),
        ({"subject": "olga", "groups": ["board"]}, 403),
        ({"subject": "paul"}, 403),
        ({"subject": "paul", "scopes": ["control:metrics.read"]}, 201),
        ({"subject": "paul", "scopes": ["gateway"], "roles": ["chief"]}, 201),
    ],
)
def test_who_makes_keys_does_not_become_two_people(client: TestClient, credential: Credential, more: dict[str, Any], status: int) -> None:
    """Nor somebody whom policy lets approve more: reviews tell people apart by whom their keys speak for, and go by roles."""
    maker = credential("teller", scopes=("control:keys.write", "control:reviews.decide", "control:metrics.read"))
    wanted = {"name": "n", "roles": ["teller"], "scopes": ["control:reviews.decide"], **more}
    response = client.post("/v1/keys", json=wanted, headers=maker)
    assert response.status_code == status
    assert status == 201 or refused(response) == (403, "privilege_escalation")
    assert client.post("/v1/keys", json=wanted, headers=credential("admin", subject="root")).status_code == 201


def test_who_makes_keys_is_known_by_their_own_name(client: TestClient, services: ControlServices, credential: Credential) -> None:
    """Who made a key approves nothing that is asked with it: nobody else makes it for them, whom they made a key to make keys for."""
    wanted = {"name": "n", "subject": "paul", "scopes": ["control:keys.write"]}
    maker = credential(scopes=("control:keys.write",))
    assert refused(client.post("/v1/keys", json=wanted, headers=maker)) == (403, "privilege_escalation")
    assert client.post("/v1/keys", json={**wanted, "subject": "olga"}, headers=maker).status_code == 201
    assert client.post("/v1/keys", json=wanted, headers=credential("admin", subject="root")).status_code == 201
    nameless = services.keys.create(key_order("test", "cli:uid0", roles=["admin"], scopes=["control"]), "test")[1]
    answer = client.post("/v1/keys", json={**wanted, "scopes": ["gateway"]}, headers={"x-api-key": nameless})
    assert refused(answer) == (403, "privilege_escalation")


def test_who_acts_for_somebody_makes_no_keys() -> None:
    """It would be said to be made by whom they act for. An administrator's keys are on record, and go as far as theirs do."""
    order, session = key_order("n", "paul", scopes=["gateway"]), Facts("session", (), frozenset(("control",)))
    agent = Subject("olga", "user", claims=acting_claims(["robot"]))
    with pytest.raises(RefusedError) as caught:
        check_escalation(order, frozenset(), Asking(agent, frozenset(), session))
    assert caught.value.code == "privilege_escalation"
    check_escalation(order, frozenset(), Asking(replace(agent, claims={}), frozenset(), session))
    check_escalation(order, frozenset(), Asking(replace(agent, roles=("admin",)), frozenset(), session))


def test_who_belongs_to_a_tenant_makes_keys_for_it(client: TestClient, services: ControlServices) -> None:
    """A key without a tenant, or of another one, may see and approve what theirs may not; an administrator makes any."""
    wanted = {"name": "n", "subject": "s", "scopes": ["gateway"]}
    for given, others in (({"scopes": ["control:keys.write"]}, 403), ({"roles": ["admin"], "scopes": ["control"]}, 201)):
        order = key_order("test", "tess", tenant="north", **given)
        maker = {"authorization": f"Bearer {services.keys.create(order, 'test')[1]}"}
        for tenant, status in ((None, others), ("south", others), ("north", 201)):
            assert client.post("/v1/keys", json={**wanted, "tenant": tenant}, headers=maker).status_code == status


@pytest.mark.parametrize(
    "change",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": ["control"]},
        {"name": ""},
        {"subject": "a\nb"},
        {"roles": ["x" * 300]},
        {"type": "robot"},
        {"color": 1},
    ],
)
def test_an_order_that_makes_no_sense_is_refused(client: TestClient, credential: Credential, change: dict[str, Any]) -> None:
    """One sentence says what is wrong."""
    wanted = {"name": "n", "subject": "s", "scopes": ["gateway"], **change}
    response = client.post("/v1/keys", json=wanted, headers=credential("admin"))
    assert refused(response) == (422, "request_invalid")
    assert response.json()["detail"]


def test_a_refused_body_is_not_repeated(client: TestClient, credential: Credential) -> None:
    """What was sent may be a secret; the problem says where, not what."""
    response = client.post("/v1/keys", json={"name": {"hunter2": 1}, "subject": "s", "scopes": ["gateway"]}, headers=credential("admin"))
    assert refused(response) == (422, "request_invalid")
    assert "hunter2" not in response.text


def test_a_reload_answers_with_digests_or_faults(services: ControlServices, client: TestClient, credential: Credential) -> None:
    """Faults come with file and line, and as a 422."""
    headers = credential("operator")
    assert client.post("/v1/config/reload", headers=headers).json() == client.get("/v1/config", headers=headers).json()
    process(services).faults = ("lockgate.yaml:3: unknown key.",)
    response = client.post("/v1/config/reload", headers=headers)
    assert refused(response) == (422, "config_invalid")
    assert response.json()["faults"] == ["lockgate.yaml:3: unknown key."]


def test_the_unforeseen_is_a_problem_without_inside(services: ControlServices, client: TestClient, credential: Credential) -> None:
    """A bug becomes a 500 problem; its text and trace stay in the log."""
    process(services).broken = True
    response = client.get("/metrics", headers=credential("viewer"))
    assert refused(response) == (500, "internal")
    assert "secret detail" not in response.text
    assert response.headers["cache-control"] == "no-store"


def test_a_key_store_that_is_down_is_a_503(services: ControlServices, client: TestClient, credential: Credential) -> None:
    """Who cannot be checked does not get in."""
    headers = credential("viewer")
    services.keys._keys.close()  # type: ignore[attr-defined]  # the store under the service goes away
    assert refused(client.get("/metrics", headers=headers)) == (503, "state_unavailable")


def test_unknown_paths_and_methods_are_problems(client: TestClient) -> None:
    """Nothing answers in another format."""
    assert refused(client.get("/v1/nothing")) == (404, "not_found")
    assert refused(client.get("/docs")) == (404, "not_found")
    assert refused(client.patch("/healthz")) == (405, "method_not_allowed")


def test_large_bodies_are_refused(client: TestClient, credential: Credential) -> None:
    """The control API needs no large bodies, whether their length is told or not."""
    headers = credential("admin")
    assert refused(client.post("/v1/keys", content=b" " * 100_000, headers=headers)) == (413, "body_too_large")
    assert refused(client.post("/v1/keys", content=iter([b" " * 60_000] * 3), headers=headers)) == (413, "body_too_large")


def test_bundles_may_be_larger(client: TestClient, credential: Credential) -> None:
    """Where policies are tried, to an end that is told as everywhere; this one tries none."""
    headers = {**credential("policy_author"), "content-type": "application/gzip"}
    assert refused(client.post("/v1/policy/check", content=b" " * 100_000, headers=headers)) == (404, "not_found")
    assert refused(client.post("/v1/policy/check", headers={**headers, "content-length": str((24 << 20) + 1)})) == (413, "body_too_large")
    assert refused(client.post("/v1/policy/replay", headers=headers)) == (403, "permission_missing")


@pytest.mark.parametrize(
    "told", [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}]
)
def test_pages_of_other_sites_change_nothing(client: TestClient, credential: Credential, told: dict[str, str]) -> None:
    """Cross-site requests that change state are refused even with a good key."""
    assert refused(client.post("/v1/config/reload", headers={**credential("admin"), **told})) == (403, "cross_site_refused")


def test_our_own_page_may(client: TestClient, credential: Credential) -> None:
    """Same origin is no cross-site request."""
    told = {"origin": "http://127.0.0.1:8081", "sec-fetch-site": "same-origin"}
    assert client.post("/v1/config/reload", headers={**credential("admin"), **told}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8081", "", "localhost.:80"])
def test_other_host_names_are_refused_on_loopback(client: TestClient, host: str) -> None:
    """A name that was rebound to 127.0.0.1 does not speak to the control API."""
    assert refused(client.get("/healthz", headers={"host": host})) == (421, "host_refused")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8081", "[::1]", "[::1]:8081"])
def test_loopback_names_are_accepted(client: TestClient, host: str) -> None:
    """Every way to write this machine, with any port."""
    assert client.get("/healthz", headers={"host": host}).status_code == 200


def test_another_listener_takes_any_host(services: ControlServices) -> None:
    """Behind a name of its own the listener is told not to check."""
    client = TestClient(create_app(replace(services, hosts=None)), base_url="https://control.halden.example")
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(("told", "stored"), [("0847-08-04T18:27:46+00:00", -(2**63) + 1), ("9999-12-31T23:59:59+00:00", 2**63 - 1)])
def test_a_time_that_no_store_can_hold_is_where_time_ends(told: str, stored: int) -> None:
    """And no failure of a store's."""
    found = nanoseconds(datetime.fromisoformat(told))
    assert found == stored
    assert nanoseconds(moment(found)) == pytest.approx(stored, abs=1000)


def test_answers_are_not_stored(client: TestClient) -> None:
    """Every answer, refusals included, says no-store and nosniff."""
    for response in (client.get("/healthz"), client.get("/v1/keys"), client.get("/", headers={"host": "x"})):
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"


def test_the_document_describes_every_route(services: ControlServices, client: TestClient) -> None:
    """OpenAPI lists all paths but the console's, which are for people, with their permission, a typed answer and the problem format."""
    document = client.get("/v1/openapi.json").json()
    listed = [route for route in create_app(services).routes if isinstance(route, GuardedRoute)]
    assert set(document["paths"]) == {route.path for route in listed if not route.path.startswith("/console/")}
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["x-lockgate-permission"]
            assert "default" not in operation["responses"]
            refused = {"401", "403", "500"} & operation["responses"].keys()
            assert refused
            assert all("application/problem+json" in operation["responses"][status]["content"] for status in refused)
