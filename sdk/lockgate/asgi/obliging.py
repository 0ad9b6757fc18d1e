"""The obligations that the middleware fulfils by itself: header fields for the application, and a limit on the answer."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import Message, Send

from lockgate.asgi import answers
from lockgate.client.values import Decision, Obligation

HEADERS, LIMIT = "add_headers", "limit_response"


def added_headers(obligations: Sequence[Obligation]) -> dict[bytes, bytes]:
    """Raises ValueError for fields that are not as the API describes them."""
    added: dict[bytes, bytes] = {}
    for each in obligations:
        if each.name != HEADERS:
            continue
        fields = each.params.get("headers")
        if not isinstance(fields, dict) or not all(isinstance(value, str) and value.isascii() for value in fields.values()):
            raise ValueError("policy's header fields are not as they are described")
        added |= {name.lower().encode("ascii"): value.encode("ascii") for name, value in fields.items()}
    return added


def response_limit(obligations: Sequence[Obligation]) -> int | None:
    """Bytes. What is no number is none at all, so that nothing passes."""
    wanted = [each.params.get("bytes") for each in obligations if each.name == LIMIT]
    return min(value if type(value) is int else 0 for value in wanted) if wanted else None


class ResponseTooLargeError(Exception):
    """What was sent already cannot be taken back; the server cuts the connection, so that it does not look whole."""


def limited(send: Send, limit: int, decision: Decision | None) -> Send:
    """An answer within `limit` bytes: one that announces more is replaced by a problem, one that turns out longer is broken off."""
    sent, replaced = 0, False

    async def counting(message: Message) -> None:
        nonlocal sent, replaced
        if replaced:
            return
        if message["type"] == "http.response.start" and _announced(message) > limit:
            replaced = True
            await _instead(send, limit, decision)
            return
        if message["type"] == "http.response.body":
            sent += len(message.get("body", b""))
            if sent > limit:
                raise ResponseTooLargeError(f"the answer is larger than the {limit} bytes that policy allows")
        await send(message)

    return counting


async def _instead(send: Send, limit: int, decision: Decision | None) -> None:
    detail = f"The answer is larger than the {limit} bytes that policy allows."
    response = answers.problem(502, "response_too_large", detail, decision)
    await send({"type": "http.response.start", "status": 502, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": bytes(response.body)})


def _announced(message: Message) -> int:
    value = next((value for name, value in message.get("headers", ()) if name.lower() == b"content-length"), b"")
    return int(value) if value.isdigit() else 0
