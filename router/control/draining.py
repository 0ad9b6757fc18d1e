"""This node out of service, and back: whoever asks the control API of one node asks about that node."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.models import Body
from router.control.permissions import Permission
from router.control.services import ControlServices, OwnNode
from router.errors import RefusedError

router = guarded_router()
NodeName = Annotated[
    str,
    Path(max_length=200, pattern=r"^[A-Za-z0-9._-]+$", description="`self`, or this node's own id or name; any other is refused"),
]


class Order(Body):
    reason: str = Field(default="", max_length=2000, description="Why; on record, sealed under the key of who says it.")


class UnderWay(BaseModel):
    """What is not finished here."""

    model_config = ConfigDict(extra="forbid")

    requests: int = Field(description="of callers: of the gateway, the decide API and webhooks, and of Envoy")
    streams: int = Field(description="server-sent events and WebSockets that are open")
    waiting: int = Field(description="callers who wait for a person's decision (`Prefer: wait`)")
    events: int = Field(description="messages of brokers that were taken and are not acknowledged yet")
    deliveries: int = Field(description="deliveries that are being sent")
    dispatches: int = Field(description="held requests that were approved and are being sent")


class NodeState(BaseModel):
    model_config = ConfigDict(extra="forbid")

    node: str | None = Field(description="its id among the nodes of the ledger; null where it shares nothing with any")
    name: str
    state: Literal["serving", "draining", "drained"] = Field(
        description="`drained`: nothing has been under way, and nothing has come, for two seconds; it may be stopped"
    )
    since: datetime | None = Field(description="when it was drained; null while it serves")
    by: str | None = Field(description="by whom")
    reason: str | None = Field(description="why, as they said")
    quiet_since: datetime | None = Field(description="since when nothing has been under way; null where it is not drained")
    under_way: UnderWay
    connections: int = Field(description="connections of callers, idle ones included; they keep nobody from stopping it")
    workers: int
    workers_heard: int = Field(description="workers that said what they are busy with; with fewer than all it is not drained")
    held: int = Field(description="requests that wait for a person, of all nodes that share them; they are durable, and outlive a stop")
    deliveries_due: int = Field(description="deliveries that wait, of all nodes of the ledger; a drained node leaves them to others")


@router.get("/v1/nodes/{node}", **needs(Permission.CONFIG_READ))
async def show(node: NodeName, services: Services) -> NodeState:
    """Whether this node serves, and what is under way here."""
    return NodeState.model_validate(await own(services, node).show())


@router.post("/v1/nodes/{node}/drain", **needs(Permission.NODES_DRAIN))
async def drain(node: NodeName, services: Services, caller: Caller, order: Order | None = None) -> NodeState:
    """Takes this node out of service: readiness says no, nothing new is taken from brokers and the outbox, requests that come all the same
    are answered. Recorded before it is done; a node that is drained stays as it is. It lasts until `resume`, or a restart."""
    said = order.reason if order is not None else ""
    return NodeState.model_validate(await own(services, node).drain(caller.subject, caller.key_id, said))


@router.post("/v1/nodes/{node}/resume", **needs(Permission.NODES_DRAIN))
async def resume(node: NodeName, services: Services, caller: Caller, order: Order | None = None) -> NodeState:
    """Lets this node serve again. Recorded before it is done; a node that serves stays as it is."""
    said = order.reason if order is not None else ""
    return NodeState.model_validate(await own(services, node).resume(caller.subject, caller.key_id, said))


def own(services: ControlServices, node: str = "self") -> OwnNode:
    if services.node is None:
        raise RefusedError("There is no node that could be asked about.", "not_found", 404)
    if node not in services.node.names:
        raise RefusedError("That is another node: ask it at its own address, where it is called `self`.", "node_elsewhere", 409)
    return services.node
