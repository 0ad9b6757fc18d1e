"""Callers that ask without a pause, as many at once as told, until they are told to stop."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.e2e.running import Lockgate
from tests.e2e.wire import TIMEOUT_S


@dataclass(slots=True)
class Load:
    """`acknowledged`: decision ids of requests that were answered 200. `broken`: connections that ended without an answer."""

    acknowledged: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())


@contextmanager
def load(lockgate: Lockgate, callers: int = 4, *, keep: bool = True, words: str | None = None) -> Iterator[Load]:
    """Each caller keeps its connection unless told otherwise, and opens another when it breaks. `words` are asked instead of a path that
    says it all."""
    seen, stop = Load(), threading.Event()
    threads = [threading.Thread(target=_call, args=(lockgate, seen, stop, keep, number, words)) for number in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join(TIMEOUT_S * 2)


def _call(lockgate: Lockgate, seen: Load, stop: threading.Event, keep: bool, caller: int, words: str | None) -> None:
    headers = {"authorization": f"Bearer {lockgate.keys['ann']}", "connection": "keep-alive" if keep else "close"}
    method, body = ("GET", None) if words is None else ("POST", words.encode())
    if words is not None:
        headers["content-type"] = "text/plain"
    number = caller * 1_000_000
    connection = http.client.HTTPConnection("127.0.0.1", lockgate.gateway, timeout=TIMEOUT_S)
    try:
        while not stop.is_set():
            number += 1
            try:
                connection.request(method, f"/{'echo' if words is None else 'say'}/{number}", body, headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                seen.broken[type(error).__name__] += 1
                connection.close()
                stop.wait(0.02)
                continue
            seen.statuses[answer.status] += 1
            if answer.status == 200:
                seen.acknowledged.append(answer.headers["x-lockgate-decision-id"])
    finally:
        connection.close()
