"""Sends a decided request to its destination, with the obligations that policy put on it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from router.decision import Decision, Obligation, Outcome, Request, Result
from router.errors import DestinationError, PolicyError
from router.ports import Destination, Headers, Outbound, Reply, Socket

KNOWN_OBLIGATIONS = frozenset(("mask_body", "add_headers", "require_review", "log"))
Masker = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """`destinations` by route name, since a route may override its destination's time-outs."""

    destinations: Mapping[str, Destination]
    mask: Masker

    async def send(self, decision: Decision, outbound: Outbound) -> Reply:
        """Raises DestinationError, PolicyError (`obligation_failed`)."""
        return await self.destination(decision).send(self.oblige(decision, outbound))

    async def connect(self, decision: Decision, target: str, headers: Headers, subprotocols: Sequence[str]) -> Socket:
        """A WebSocket with the same obligations; its messages are a body that nobody has read. Raises as `send`."""
        obliged = self.oblige(decision, Outbound("GET", target, headers, _Unread()))
        return await self.destination(decision).connect(obliged.target, obliged.headers, subprotocols)

    def destination(self, decision: Decision) -> Destination:
        if decision.route is None or decision.route.name not in self.destinations:
            raise DestinationError("The decision names no destination that is configured.", "destination_unknown", 502)
        return self.destinations[decision.route.name]

    def oblige(self, decision: Decision, outbound: Outbound) -> Outbound:
        for obligation in decision.verdict.obligations:
            if obligation.name == "add_headers":
                outbound = replace(outbound, headers=_replaced(outbound.headers, _added(obligation)))
            elif obligation.name == "mask_body":
                outbound = _masked(outbound, decision.request, self.mask)
            elif obligation.name not in KNOWN_OBLIGATIONS:
                raise PolicyError(f"Policy asks for '{obligation.name}', which this version cannot do.", "obligation_unknown")
        return outbound


def failure(error: DestinationError, total_ns: int) -> Outcome:
    return Outcome(
        Result.FAILED, error.status, error.code, upstream=error.upstream, attempts=error.attempts, total_ns=total_ns, complete=False
    )


def content_digest(outbound: Outbound) -> str:
    """SHA-256 over everything of a held request that reaches the upstream; an approval is bound to it."""
    if not isinstance(outbound.body, bytes):
        raise PolicyError("Only a request whose body was read whole can be held.", "body_truncated")
    digest = hashlib.sha256()
    head = [outbound.method.encode(), outbound.target.encode(), *(name + b":" + value for name, value in outbound.headers)]
    for part in (*head, outbound.body):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _added(obligation: Obligation) -> Headers:
    """Names of ours, framing and hop-by-hop fields are not policy's to set."""
    added: Headers = []
    headers = obligation.params.get("headers")
    if not isinstance(headers, Mapping):
        raise PolicyError("Policy asks for 'add_headers' and gives no headers.", "obligation_failed")
    for name, value in headers.items():
        lowered = str(name).lower()
        if not _TOKEN.fullmatch(lowered) or lowered.startswith("x-lockgate-") or lowered in _RESERVED:
            raise PolicyError(f"Policy may not set the header field '{name}'.", "obligation_failed")
        if not str(value).isprintable() or not str(value).isascii():
            raise PolicyError(f"Policy gave the header field '{name}' a value that is not printable ASCII.", "obligation_failed")
        added.append((lowered.encode(), str(value).encode()))
    return added


def _replaced(headers: Headers, added: Headers) -> Headers:
    """What policy says takes the place of what the caller said under that name: an upstream might take either of two."""
    names = {name for name, _ in added}
    return [field for field in headers if field[0].lower() not in names] + added


class _Unread:
    """Messages that are still to come: there are bytes, and nobody has seen them."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


_MASKABLE = (None, "text_too_long")
_UNGUESSABLE = "x7Kq9vTz"
_TOKEN = re.compile("[a-z0-9-]+")
_RESERVED = frozenset(("connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"))


def _masked(outbound: Outbound, request: Request, mask: Masker) -> Outbound:
    if not isinstance(outbound.body, bytes):
        raise PolicyError("A body that was not read whole cannot be masked.", "obligation_failed")
    if not outbound.body:
        return outbound
    if request.body.problem not in _MASKABLE:  # a coding or character set by which the upstream reads something else than we did
        raise PolicyError("The body could not be read, so it could not be masked.", "obligation_failed")
    media = request.content_type.partition(";")[0].strip().lower()
    try:
        if media == "application/json" or media.endswith("+json"):
            document = _mask_strings("", json.loads(outbound.body), mask)
            return replace(outbound, body=json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8"))
        if media.startswith("text/"):
            return replace(outbound, body=mask(outbound.body.decode("utf-8")).encode("utf-8"))
    except (ValueError, RecursionError):
        raise PolicyError("The body could not be read, so it could not be masked.", "obligation_failed") from None
    raise PolicyError(f"A body of type '{media}' cannot be masked.", "obligation_failed")


def _mask_strings(key: str, value: object, mask: Masker) -> object:
    """Strings, keys and numbers that are personal data or credentials, by themselves or because of their key."""
    if isinstance(value, list):
        return [_mask_strings(key, item, mask) for item in value]
    if isinstance(value, dict):
        return {mask(name): _mask_strings(name, item, mask) for name, item in value.items()}
    if isinstance(value, bool) or value is None or value == "":
        return value
    text = str(value)
    masked = _label_of(key, mask) or mask(text)
    return value if masked == text else masked


def _label_of(key: str, mask: Masker) -> str | None:
    """The label for whatever stands under a key such as `password`; None where the key says nothing."""
    masked = mask(f'{key} = "{_UNGUESSABLE}"')
    return None if _UNGUESSABLE in masked else masked.rstrip('"').rpartition('"')[2]
