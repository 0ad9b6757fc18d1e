"""Test doubles, each for as long as a `with` lasts. What is decided by one is not what the workspace decides, and says so in its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2

Answers = Mapping[str, Any]
ALLOWED = {"effect": "allow", "reasons": [{"code": "test_double.allowed"}]}


class Doubles:
    """In the place of the workspace's policies, or of the whole server."""

    def __init__(self, judge_by: Callable[[Answers | None], None]) -> None:
        self._judge_by = judge_by
        self._away = False

    @contextmanager
    def deny_all(self, code: str = "test_double.denied", message: str = "A test double denies everything.") -> Iterator[None]:
        """Policy denies, whatever was understood."""
        with self.policy({"effect": "deny", "reasons": [{"code": code, "message": message}]}):
            yield

    @contextmanager
    def allow_all(self) -> Iterator[None]:
        """Policy allows. What was not understood is still not let through."""
        with self.policy(ALLOWED):
            yield

    @contextmanager
    def hold_all(self, quorum: int = 1) -> Iterator[None]:
        """Policy wants a person to decide, where something was understood."""
        asked = {"name": "require_review", "params": {"reviewers": [], "quorum": quorum}}
        with self.policy({"effect": "review", "reasons": [{"code": "test_double.held"}], "obligations": [asked]}):
            yield

    @contextmanager
    def policy(self, answer: Answers) -> Iterator[None]:
        """Policy answers this, in the form of `policies/schemas/result.json`."""
        self._judge_by({"admission": ALLOWED, "decision": answer})
        try:
            yield
        finally:
            self._judge_by(None)

    @contextmanager
    def server_away(self) -> Iterator[None]:
        """Nobody answers."""
        self._away = True
        try:
            yield
        finally:
            self._away = False

    def clear(self) -> None:
        self._away = False
        self._judge_by(None)

    def reach(self, request: httpx2.Request) -> None:
        if self._away:
            raise httpx2.ConnectError("a test double is away", request=request)
