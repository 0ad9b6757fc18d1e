"""A worker of a node that is drained: it takes up nothing new, and says what it is still busy with.

Requests that come all the same are answered: a balancer needs time. Their answers are the last of their connections and say so, Envoy hears
that another is to be asked, brokers' messages and deliveries that are due are left to others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from router.audit.recorder import Late
from router.delivery.running import Running
from router.doors.http1 import GuardedHttp
from router.doors.under_way import UnderWay
from router.processes.server import Server
from router.review.waiting import Waits

if TYPE_CHECKING:
    from router.wiring.envoy import EnvoyListener
    from router.wiring.events import Events


@dataclass(slots=True)
class Drainable:
    """What of a worker is told; what is not there yet is told when it comes. `http` is the protocol of its `servers`, and of no others."""

    under_way: UnderWay
    waits: Waits | None = None
    late: Late | None = None
    out: bool = False
    http: type[GuardedHttp] | None = None
    servers: Sequence[Server] = ()
    delivering: Running | None = None
    events: Events | None = None
    envoy: EnvoyListener | None = None
    _told: set[int] = field(default_factory=set)

    def drain(self, out: bool) -> None:
        """Whether to take up nothing new. Told again and again, it does nothing twice."""
        if self.out is not out:
            self.out = out
            self._told.clear()
        self.tell()

    def tell(self) -> None:
        """Whatever has not heard it yet."""
        for part in (self.delivering, self.events, self.envoy):
            if part is not None and id(part) not in self._told:
                self._told.add(id(part))
                part.drain(self.out)
        if self.http is not None and self.http.leaving is not self.out:
            self.http.leaving = self.out
            self._let_go()

    def busy(self) -> dict[str, Any]:
        """`began` grows with every request, `connections` may be idle; all else is not finished."""
        events, envoy = self.events, self.envoy
        deciding, beyond = (0 if events is None else events.deciding), (0 if envoy is None else envoy.beyond)
        return {
            "out": self.out,
            "began": self.under_way.began,
            "requests": max(0, self.under_way.count - deciding) + beyond + (0 if self.late is None else len(self.late)),
            "streams": self.under_way.streams,
            "waiting": 0 if self.waits is None else self.waits.count,
            "events": 0 if events is None else events.under_way,
            "deliveries": 0 if self.delivering is None else self.delivering.under_way,
            "connections": sum(len(each.server_state.connections) for each in self.servers),
        }

    def _let_go(self) -> None:
        if self.out:
            for each in self.servers:
                for connection in each.server_state.connections:
                    if isinstance(connection, GuardedHttp):
                        connection.let_go()
