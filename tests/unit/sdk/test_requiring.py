"""The decorator: an endpoint runs only under a decision to do what it does, and FastAPI goes on injecting what it asks for."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, Header
from fastapi import Request as FastRequest
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from lockgate.asgi import AS_SERVICE, DecisionMiddleware, requires_decision
from lockgate.client import AsyncClient, Decision, Subject
from lockgate.testing import Lockgate
from tests.unit.sdk.apps import who
from tests.unit.sdk.peer import DECISION, ended, nobody, peer, told


class Asked(BaseModel):
    message: str


def tenant(x_tenant: Annotated[str, Header()] = "none") -> str:
    return x_tenant


async def post(app: Any, path: str, json: Any = None, user: str | None = "ann", **headers: str) -> httpx2.Response:
    fields = {**headers, **({"x-user": user} if user is not None else {})}
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://till.example") as http:
        return await http.post(path, json=json, headers=fields)


def service(client: Any, **demands: Any) -> FastAPI:
    app = FastAPI()
    app.state.lockgate = client
    demanded = {"text": lambda request, asked: asked.message, "subject": who, **demands}

    @app.post("/sync/{number}")
    @requires_decision(**demanded)
    def in_a_thread(number: int, asked: Asked, tenant: Annotated[str, Depends(tenant)], decision: Decision) -> dict[str, Any]:
        """Pays."""
        return {"number": number, "said": asked.message, "tenant": tenant, "decision": decision.id}

    @app.post("/async/{number}")
    @requires_decision(**demanded)
    async def in_the_loop(request: FastRequest, number: int, asked: Asked, tenant: Annotated[str, Depends(tenant)]) -> dict[str, Any]:
        return {"number": number, "said": asked.message, "tenant": tenant, "path": request.url.path}

    return app


@pytest.mark.parametrize("path", ["/sync/7", "/async/7"])
async def test_what_fastapi_injects_is_injected(path: str) -> None:
    """Path, body, dependency, request; the decision is given, and is no parameter of the API."""
    with peer(told()) as server:
        async with AsyncClient(server.url) as client:
            app = service(client, intent="pay")
            answer = await post(app, path, {"message": "pay 5"}, **{"x-tenant": "north"})
            assert (answer.status_code, answer.json()["number"], answer.json()["said"], answer.json()["tenant"]) == (
                200,
                7,
                "pay 5",
                "north",
            )
            assert answer.json().get("decision", DECISION["id"]) == DECISION["id"]
            (asked,) = server.questions
            assert (asked["text"], asked["path"], asked["subject"]["id"]) == ("pay 5", path, "ann")
            assert (await post(app, path, {"wrong": 1})).status_code == 422
            assert len(server.asked) == 1
            described = app.openapi()["paths"]["/sync/{number}"]["post"]
            assert {each["name"] for each in described["parameters"]} == {"number", "x-tenant"}
            assert described["description"] == "Pays."


@pytest.mark.parametrize(
    ("answer", "demands", "status", "code"),
    [
        (told(), {"intent": "refund"}, 403, "intent_unexpected"),
        (told(), {"intent": ["refund", "pay"]}, 200, None),
        (told(), {"min_confidence": 0.95}, 403, "confidence_too_low"),
        (told(), {"min_confidence": 0.9}, 200, None),
        (told(classification={**DECISION["classification"], "confidence": None}), {"min_confidence": 0.1}, 403, "confidence_too_low"),
        (told(classification={**DECISION["classification"], "confidence": None, "tier": "rule"}), {"min_confidence": 0.99}, 200, None),
        (ended("denied", 403, "rbac.no_grant", "deny"), {"intent": "pay"}, 403, "rbac.no_grant"),
        (ended("abstained", 422, "ambiguous", "allow"), {}, 422, "ambiguous"),
        (ended("held", 202, "risk.high", "review"), {}, 403, "review_unsupported"),
        (ended("denied", 401, "step_up", "deny", headers={"www-authenticate": "Bearer acr"}), {}, 401, "step_up"),
    ],
)
@pytest.mark.parametrize("path", ["/sync/7", "/async/7"])
async def test_an_endpoint_runs_only_under_what_it_demands(path: str, answer: bytes, demands: Any, status: int, code: str | None) -> None:
    """Else the caller hears why, in the gateway's words where it is the gateway's reason."""
    with peer(answer) as server:
        async with AsyncClient(server.url) as client:
            found = await post(service(client, **demands), path, {"message": "pay 5"})
    assert (found.status_code, found.json().get("code")) == (status, code)
    if code == "step_up":
        assert found.headers["www-authenticate"] == "Bearer acr"


async def test_without_a_decision_nothing_runs() -> None:
    """The server is away, nobody is known, or there is no client: each has its answer."""
    async with AsyncClient(nobody(), attempts=1) as client:
        for made, user, status, code in (
            (service(client), "ann", 503, "decision_unavailable"),
            (service(client), None, 401, "credential_missing"),
            (service(None), "ann", 503, "decision_unavailable"),
            (service(object()), "ann", 500, None),
        ):
            answer = await post(made, "/sync/7", {"message": "pay 5"}, user)
            assert answer.status_code == status
            assert code is None or answer.json()["code"] == code


async def test_an_obligation_is_the_endpoints() -> None:
    """Who asks for a decision fulfils what it obliges to, or does nothing."""
    verdict = {**DECISION["verdict"], "obligations": [{"name": "add_headers", "params": {"headers": {}}}]}
    with peer(told(verdict=verdict)) as server:
        async with AsyncClient(server.url) as client:
            assert (await post(service(client), "/sync/7", {"message": "x"})).json()["code"] == "obligation_unfulfilled"
            assert (await post(service(client, fulfils=["add_headers"]), "/sync/7", {"message": "x"})).status_code == 200


async def test_the_middlewares_decision_can_be_held_to_more(lockgate: Lockgate) -> None:
    """Without a text of its own the decorator judges the decision about the whole request; Starlette's endpoints need nothing else."""

    @requires_decision(intent="look")
    async def looks(request: Request) -> PlainTextResponse:
        return PlainTextResponse("looked")

    @requires_decision(intent="pay")
    def pays(request: Request) -> PlainTextResponse:
        raise AssertionError("it must not run")

    app = Starlette(routes=[Route("/items/7", looks), Route("/items/8", pays)])
    app.add_middleware(DecisionMiddleware, client=lockgate.client, subject=who)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://till.example", headers={"x-user": "ann"}) as http:
        assert (await http.get("/items/7")).text == "looked"
        refused = await http.get("/items/8")
    assert (refused.status_code, refused.json()["code"], refused.json()["decision_id"]) == (
        403,
        "intent_unexpected",
        lockgate.decisions[1].id,
    )


async def test_where_no_middleware_is_nothing_runs() -> None:
    """A decorator that was left alone by a change of the application refuses."""

    @requires_decision(intent="look")
    async def looks(request: Request) -> PlainTextResponse:
        raise AssertionError("it must not run")

    answer = await post(Starlette(routes=[Route("/x", looks, methods=["POST"])]), "/x")
    assert (answer.status_code, answer.json()["code"]) == (503, "decision_unavailable")


async def test_somebody_elses_state_is_no_decision() -> None:
    """What merely stands where a decision would be lets nothing go."""

    @requires_decision()
    async def looks(request: Request) -> PlainTextResponse:
        raise AssertionError("it must not run")

    async def forged(scope: Any, receive: Any, send: Any) -> None:
        inner = Starlette(routes=[Route("/x", looks, methods=["POST"])])
        await inner({**scope, "state": {"lockgate": {"allowed": True}}}, receive, send)

    assert (await post(forged, "/x")).status_code == 503


@pytest.mark.parametrize("demands", [{"text": lambda request: None}, {"text": None, "body": lambda request: None}])
async def test_what_cannot_be_had_is_not_decided_about(demands: Any) -> None:
    """A decision about the path alone would let the words go unjudged."""
    with peer(told()) as server:
        async with AsyncClient(server.url) as client:
            assert (await post(service(client, **demands), "/sync/7", {"message": "x"})).status_code == 500
        assert server.asked == []


async def test_a_client_that_gives_no_decision_lets_nothing_run() -> None:
    """Whatever it is that was given as one: nothing that merely looks like a decision is taken for one."""

    class Careless:
        async def ask(self, question: Any) -> Any:
            return SimpleNamespace(allowed=True, held=False, obligations=(), enforce=lambda _: None, classification=SimpleNamespace())

    answer = await post(service(Careless()), "/sync/7", {"message": "pay 5"})
    assert (answer.status_code, answer.json()["code"]) == (503, "decision_unavailable")


@pytest.mark.parametrize(
    "demands",
    [
        {"intent": []},
        {"text": lambda request: "x"},
        {"subject": AS_SERVICE},
        {"text": lambda request: "x", "body": lambda request: {}, "subject": AS_SERVICE},
    ],
)
def test_a_demand_that_cannot_be_meant_is_refused(demands: Any) -> None:
    """When the module is loaded."""
    with pytest.raises(ValueError, match=r"."):
        requires_decision(**demands)


async def test_text_and_subject_may_be_asynchronous() -> None:
    """And text may take all of the request's body itself."""

    async def text(request: Request) -> str:
        return (await request.json())["message"]

    async def subject(request: Any) -> Subject:
        return Subject("bob")

    async def endpoint(asked: Asked) -> str:
        return asked.message

    wrap: Callable[..., Any] = requires_decision(text=text, subject=subject)
    with peer(told()) as server:
        async with AsyncClient(server.url) as client:
            app = FastAPI()
            app.state.lockgate = client
            app.post("/x")(wrap(endpoint))
            assert (await post(app, "/x", {"message": "pay 5"})).json() == "pay 5"
        assert (server.questions[0]["text"], server.questions[0]["subject"]["id"]) == ("pay 5", "bob")
