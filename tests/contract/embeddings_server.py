"""A server that speaks OpenAI's embeddings protocol on loopback, with the packaged encoder's vectors, well or badly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Event, Thread
from typing import Any

from embeddings.minilm import load_minilm
from embeddings.ports import Encoder
from tests.contract.llm_server import LlmServer, serving


@dataclass
class EmbeddingsServer(LlmServer):
    """`spoil` gets the vectors' list as it would be sent, and makes something else of it."""

    spoil: Callable[[list[dict[str, Any]]], Any] = list

    def _answer(self, asked: dict[str, Any]) -> bytes:
        rows = minilm().encode(asked["input"]) * 3.0  # of whatever length
        data = [{"object": "embedding", "index": place, "embedding": row.tolist()} for place, row in enumerate(rows)]
        answer = {"object": "list", "model": self.model, "data": self.spoil(data), "usage": {"prompt_tokens": 1, "total_tokens": 1}}
        return json.dumps({key: value for key, value in answer.items() if value is not None}).encode()


@cache
def minilm() -> Encoder:
    return load_minilm()


@contextmanager
def served(server: LlmServer) -> Iterator[LlmServer]:
    """On a thread and loop of its own: encoders block the thread that asks them."""
    ready, over = Event(), Event()

    async def run() -> None:
        async with serving(server):
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        if not ready.wait(10):
            raise TimeoutError("the server did not start")
        yield server
    finally:
        over.set()
        thread.join()
