"""A delivery as a row, the same in every database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from router.ports import Delivery, Due

COLUMNS = "id, route, destination, due, key_id, sealed, created_ns, due_ns, until_ns, lane, owner, leased_ns, attempts, reason, tenant"


def delivery_from(row: Sequence[Any]) -> Delivery:
    """Of `COLUMNS`."""
    name, route, destination, due, key_id, sealed, created, due_ns, until_ns, lane, owner, leased, attempts, reason, tenant = row
    where, times = (name, route, destination), (created, due_ns, until_ns)
    whose = None if tenant is None else str(json.loads(tenant))
    return Delivery(*where, Due(due), key_id, bytes(sealed), *times, bytes(lane), owner, leased, attempts, reason, whose)


def row_of(delivery: Delivery) -> tuple[Any, ...]:
    one = delivery
    terms = (one.id, one.route, one.destination, one.due.value, one.key_id, one.sealed, one.created_ns, one.due_ns, one.until_ns, one.order)
    tenant = None if one.tenant is None else tenant_text(one.tenant)
    return (*terms, one.owner, one.leased_ns, one.attempts, one.reason, tenant)


def tenant_text(tenant: str) -> str:
    """As text that every database can hold, and compares by."""
    return json.dumps(tenant)
