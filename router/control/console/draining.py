"""This node out of service, and back: what of it stands on the page of how it is, and its two forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response

from router.control.console.asking import address
from router.control.console.forms import comment_of, posted
from router.control.console.html import see_other
from router.control.draining import own
from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.permissions import Permission
from router.control.services import ControlServices

router = guarded_router()
PAGE = "/console/health"
KINDS: Mapping[str, tuple[str, str]] = {
    "requests": ("request", "requests"),
    "streams": ("stream", "streams"),
    "waiting": ("caller who waits for a person", "callers who wait for a person"),
    "events": ("event", "events"),
    "deliveries": ("delivery", "deliveries"),
    "dispatches": ("approved request", "approved requests"),
}


@router.post("/console/health/drain", include_in_schema=False, **needs(Permission.NODES_DRAIN))
async def drain(request: Request, services: Services, caller: Caller) -> Response:
    fields = await posted(request)
    await own(services).drain(caller.subject, caller.key_id, comment_of(fields))
    return see_other(address(PAGE, done="node_drained"))


@router.post("/console/health/resume", include_in_schema=False, **needs(Permission.NODES_DRAIN))
async def resume(request: Request, services: Services, caller: Caller) -> Response:
    fields = await posted(request)
    await own(services).resume(caller.subject, caller.key_id, comment_of(fields))
    return see_other(address(PAGE, done="node_resumed"))


async def node_of(services: ControlServices) -> dict[str, Any]:
    if services.node is None:
        return {"node": None, "busy": ""}
    node = await services.node.show()
    return {"node": node, "busy": busy(node["under_way"])}


def busy(under_way: Mapping[str, int]) -> str:
    """In words: `3 requests and 1 stream under way`."""
    counts = [(under_way[name], words) for name, words in KINDS.items() if under_way[name]]
    parts = [f"{count} {one if count == 1 else many}" for count, (one, many) in counts]
    if not parts:
        return "nothing is under way, and it is waited whether something still comes"
    return f"{', '.join(parts[:-1])}{' and ' if parts[1:] else ''}{parts[-1]} under way"
