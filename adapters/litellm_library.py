"""litellm, held to the server that is configured. The only module that imports it: everything else asks this one for it.

What failed is told by kind and never by the library's own words, which may hold the text or the key.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Awaitable, Callable
from enum import Enum
from pathlib import Path

# Before litellm is loaded: else it reads a `.env` file of the working directory into this process, and fetches a price list.
os.environ["LITELLM_MODE"] = "PRODUCTION"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
# The library makes some of its types at the first call, and pydantic remarks on them where nobody can do anything about it.
warnings.filterwarnings("ignore", message="Item .* on TypedDict class", category=UserWarning)
# It would write to standard error what a server sent where numbers belong, which may be the text.
warnings.filterwarnings("ignore", message="Pydantic serializer warnings", category=UserWarning)

import httpx
import litellm
import openai
from litellm.exceptions import RateLimitError, Timeout

from adapters.bounded_httpx import bounded_response
from adapters.http_upstream.tls import context

__all__ = ["NO_KEY", "Fault", "fault_of", "litellm", "pause_of", "server_client"]

litellm.suppress_debug_info = True  # it would print advice to standard output
litellm.turn_off_message_logging = True
vars(litellm)["DEFAULT_MAX_RETRIES"] = 0  # for embeddings it takes the 0 that it is told for nothing said

NO_KEY = "none"  # without any, litellm would take OPENAI_API_KEY and send it to a server that it is not for
LONGEST_PAUSE_S = 600.0
OPENAI = "openai"
RAW = "x-stainless-raw-response"  # how the client knows what its caller wants to be given
SENT = {"host", "accept", "accept-encoding", "connection", "content-type", "content-length", "user-agent", RAW}
REFUSED = (400, 413, 414, 422)


class Fault(Enum):
    LATE = "late"
    LIMITED = "limited"
    UNAUTHORIZED = "unauthorized"
    REFUSED = "refused"  # this very request; another one may well be answered
    UNAVAILABLE = "unavailable"


def fault_of(error: Exception) -> Fault:
    """litellm raises what it likes; all of it is one of these."""
    status = getattr(error, "status_code", None)
    if isinstance(error, TimeoutError | Timeout):
        return Fault.LATE
    if isinstance(error, RateLimitError):
        return Fault.LIMITED
    if status in (401, 403):  # litellm has no type of its own for every 403
        return Fault.UNAUTHORIZED
    return Fault.REFUSED if status in REFUSED else Fault.UNAVAILABLE


def pause_of(error: Exception) -> float:
    """Seconds of Retry-After; a date there, or nonsense, counts as none: the circuit still counts the failure."""
    headers = getattr(error, "litellm_response_headers", None)
    wanted = headers.get("retry-after", "") if headers is not None else ""
    return min(float(wanted), LONGEST_PAUSE_S) if isinstance(wanted, str) and wanted.isdecimal() else 0.0


def believed(ca: str | None, root: Path) -> Path | None:
    """A file is named relative to the configuration's."""
    return None if ca is None else root / ca


def server_client(
    provider: str,
    url: str,
    api_key: str,
    timeout_s: float,
    most_bytes: int,
    carried: frozenset[str] = frozenset(),
    ca: Path | None = None,
) -> openai.AsyncOpenAI | None:
    """A client of our own for OpenAI's protocol: litellm's would follow a redirect with text and key, and read whatever comes. It keeps no
    idle connections, so that nothing has to be closed. `carried`: header fields of a call that go with it; `ca`: believed beside the
    system's authorities. None: litellm's own, which only the deadline bounds. Raises ConfigError."""
    if provider != OPENAI:
        return None
    wire = httpx.AsyncClient(
        follow_redirects=False,
        headers={"accept-encoding": "identity"},
        limits=httpx.Limits(max_keepalive_connections=0),
        event_hooks={"request": [_own_headers(api_key, carried)], "response": [bounded_response(most_bytes)]},
        timeout=timeout_s,
        verify=context(None if ca is None else str(ca), None, None),
    )
    return openai.AsyncOpenAI(api_key=api_key, base_url=url, http_client=wire, max_retries=0)


def _own_headers(api_key: str, carried: frozenset[str]) -> Callable[[httpx.Request], Awaitable[None]]:
    """Only what the protocol needs, and our key: the library adds what it finds of somebody's account in the environment."""

    async def own(request: httpx.Request) -> None:
        for name in set(request.headers) - SENT - carried:
            del request.headers[name]
        request.headers["authorization"] = f"Bearer {api_key}"

    return own
