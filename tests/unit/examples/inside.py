"""Halden's services within this process, as those that carry work through call them."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.testclient import TestClient

from examples.halden.company.steps import UnavailableError
from examples.halden.services import itdesk, payments, people
from examples.halden.services.common import Answer, RefusedError


class Inside:
    """`away` are services that do not answer for now."""

    def __init__(self) -> None:
        self.clients = {name: TestClient(module.build()) for name, module in SERVICES.items()}
        self.away: set[str] = set()

    def call(self, service: str, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if service in self.away:
            raise UnavailableError(service)
        answer = self.clients[service].request(method, path, headers=dict(headers), content=body)
        if answer.status_code >= 500:
            raise UnavailableError(service)
        if answer.status_code >= 400:
            raise RefusedError(answer.status_code, answer.json()["error"])
        return dict(answer.json())

    def calls(self, service: str) -> dict[str, int]:
        return dict(self.clients[service].get("/debug/calls").json()["calls"])


SERVICES = {"payments": payments, "people": people, "itdesk": itdesk}
