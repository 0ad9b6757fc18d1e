from __future__ import annotations

import asyncio

from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.judging import Facts
from router.control.key_orders import check_escalation, key_order
from router.control.key_views import shown
from router.control.models import CreatedKey, Key, Keys, NewKey
from router.control.parameters import Identifier
from router.control.permissions import Permission
from router.control.times import nanoseconds
from router.errors import RefusedError

router = guarded_router()


@router.get("/v1/keys", **needs(Permission.KEYS_READ))
async def every(services: Services) -> Keys:
    """All keys, oldest first, without their secrets, which nobody has."""
    return Keys(keys=[Key(**shown(key)) for key in await asyncio.to_thread(services.keys.all)])


@router.post("/v1/keys", status_code=201, **needs(Permission.KEYS_WRITE))
async def create(wanted: NewKey, services: Services, caller: Caller) -> CreatedKey:
    """Makes a key. Its plain form is in this answer and nowhere else."""
    expires_ns = nanoseconds(wanted.expires)
    order = key_order(wanted.name, wanted.subject, wanted.type, wanted.roles, wanted.groups, wanted.tenant, wanted.scopes, expires_ns)
    wanted_facts = Facts("key", order.subject.roles, order.scopes, order.subject.tenant)
    check_escalation(order, services.judge.permissions(wanted_facts), caller)
    whose = await services.acts.person(order.subject.id)
    key, plain = await asyncio.to_thread(services.keys.create, order, caller.id)
    # Should this fail, the key is stored but nobody has its secret.
    what = {"key": key.id, "scopes": sorted(key.scopes), "roles": sorted(key.subject.roles), "expires": key.expires_ns is not None}
    await services.record("key_created", {**what, "for": whose, "by_key": caller.key_id})
    return CreatedKey(**shown(key), key=plain)


@router.delete("/v1/keys/{key_id}", status_code=204, **needs(Permission.KEYS_WRITE))
async def revoke(key_id: Identifier, services: Services, caller: Caller) -> None:
    """Revokes a key for good; every worker notices within a second or so."""
    if not await asyncio.to_thread(services.keys.revoke, key_id):
        raise RefusedError("There is no such key.", "not_found", 404)
    # After the act: a ledger that is down must not keep a stolen key alive.
    await services.record("key_revoked", {"key": key_id, "by_key": caller.key_id})
