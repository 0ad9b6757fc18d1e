"""What a principal of one tenant gets to see where `control.tenants` is `own`: the same services, with every question narrowed before it is
asked. What cannot be narrowed to one tenant is refused, so that a part that is added later is closed until somebody opens it here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, NoReturn, cast

from router.control.permissions import Permission
from router.control.services import Audit, AuditFilters, ControlServices, DeliveryDesk, Json, Opening, Page, Reviews
from router.errors import RefusedError, ReviewError

P = Permission
WITHIN = frozenset(
    {
        P.SELF,
        P.AUDIT_READ,
        P.AUDIT_PERSONAL,
        P.REVIEWS_READ,
        P.REVIEWS_FOLLOW,
        P.REVIEWS_DECIDE,
        P.DELIVERIES_READ,
        P.DELIVERIES_WRITE,
        P.LABELS_WRITE,
        P.LABELS_SEED,
        P.REVIEWERS_READ,
    }
)
"""Permissions that mean something within one tenant. Configuration, policies, keys, sessions, figures and evidence belong to all."""


def refused(what: str) -> RefusedError:
    return RefusedError(f"You belong to one tenant, and {what} all of them.", "tenant_scope_refused", 403)


def within(services: ControlServices, tenant: str, reader: str) -> ControlServices:
    """`reader` is the subject who asks."""
    audit = TenantAudit(services.audit, tenant)
    desk = TenantDeliveries(services.deliveries, audit, tenant, reader) if services.deliveries is not None else None
    reviews = cast(Reviews, TenantReviews(services.reviews, tenant))
    closed = _Closed()
    return replace(
        services,
        audit=audit,
        reviews=reviews,
        deliveries=desk,
        keys=cast(Any, closed),
        status=cast(Any, closed),
        evidence=cast(Any, closed),
        reconciler=cast(Any, closed),
        governance=None,
        indexing=None,
        policies=None,
        rollouts=None,
        nodes=None,
        node=None,
        objectives=None,
        rules=None,
        certificates=None,
        learning=None,
        labels=None if services.labels is None else services.labels.within(tenant),
        quality=None if services.quality is None else services.quality.within(tenant),
    )


class _Closed:
    def __getattr__(self, name: str) -> NoReturn:
        raise refused("this is about")


class TenantAudit:
    """Implements the port of the same name. The tenant is a condition of every question, and never looked at afterwards."""

    def __init__(self, audit: Audit, tenant: str) -> None:
        self._audit = audit
        self._tenant = tenant

    async def query(
        self, filters: AuditFilters, cursor: str | None, limit: int, reader: str, newest_first: bool = True, opening: Opening = "none"
    ) -> Page:
        return await self._audit.query(self._own(filters), cursor, limit, reader, newest_first, opening)

    async def newer(self, filters: AuditFilters, after: int, limit: int, reader: str) -> Page | None:
        return await self._audit.newer(self._own(filters), after, limit, reader)

    async def statistics(self, filters: AuditFilters, by: Sequence[str], bucket: str | None, reader: str) -> Json:
        return await self._audit.statistics(self._own(filters), by, bucket, reader)

    async def distribution(self, filters: AuditFilters, by: str, bins: int, reader: str) -> Json:
        return await self._audit.distribution(self._own(filters), by, bins, reader)

    async def certificate(self, filters: AuditFilters, reader: str, opening: Opening = "none") -> BinaryIO:
        """A certificate has the heads of the whole index with it."""
        raise refused("a certificate speaks of")

    async def saved(self) -> Sequence[Json]:
        """None: what they ask is about all tenants."""
        return []

    async def ask(
        self, name: str, given: Mapping[str, str], cursor: str | None, limit: int, reader: str, opening: Opening = "none"
    ) -> Json:
        raise refused("saved questions are about")

    async def show(self, identifier: str, reader: str, opening: Opening = "none") -> Json | None:
        """By a decision's id only: a trace may go through several tenants."""
        if not await self.has(identifier, reader):
            return None
        found = await self._audit.show(identifier, reader, opening)
        return found if found is not None and found.get("decision_id", identifier) == identifier else None

    async def bundle(self, decision_id: str, outside: str | None, reader: str) -> Json | None:
        return await self._audit.bundle(decision_id, outside, reader) if await self.has(decision_id, reader) else None

    async def checkpoint(self) -> Json:
        return await self._audit.checkpoint()

    async def has(self, decision_id: str, reader: str) -> bool:
        """Whether that is a decision of this tenant's."""
        wanted = AuditFilters(decision_id=decision_id, tenant=self._tenant, kind="decision")
        return bool((await self._audit.query(wanted, None, 1, reader)).items)

    def _own(self, filters: AuditFilters) -> AuditFilters:
        if filters.tenant not in (None, self._tenant):
            raise refused("that is another of")
        return replace(filters, tenant=self._tenant)


class TenantReviews:
    """Implements the port `Reviews`: whatever it is asked besides `list` is about one held request, whose id comes first."""

    def __init__(self, reviews: Reviews, tenant: str) -> None:
        self._reviews = reviews
        self._tenant = tenant

    async def list(self, state: str | None, cursor: str | None, limit: int, tenant: str | None = None) -> Page:
        if tenant not in (None, self._tenant):
            raise refused("that is another of")
        return await self._reviews.list(state, cursor, limit, self._tenant)

    async def get(self, review_id: str) -> Json | None:
        found = await self._reviews.get(review_id)
        return found if found is not None and found.get("tenant") == self._tenant else None

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        asked: Callable[..., Awaitable[Any]] = getattr(self._reviews, name)

        async def within_tenant(review_id: str, *more: Any, **named: Any) -> Any:
            if await self.get(review_id) is None:
                raise ReviewError("There is no such held request.", "review_not_found")
            return await asked(review_id, *more, **named)

        return within_tenant


class TenantDeliveries:
    """Implements the port `DeliveryDesk`. A delivery has the id of its decision, and the decision its tenant."""

    def __init__(self, desk: DeliveryDesk, audit: TenantAudit, tenant: str, reader: str) -> None:
        self._desk = desk
        self._audit = audit
        self._tenant = tenant
        self._reader = reader

    async def list(self, state: str | None, cursor: str | None, limit: int, tenant: str | None = None) -> Page:
        """What a release decided that did not yet say whose it is, is nobody's here; it is found by its id."""
        if tenant not in (None, self._tenant):
            raise refused("that is another of")
        return await self._desk.list(state, cursor, limit, self._tenant)

    async def get(self, delivery_id: str) -> Json:
        await self._check(delivery_id)
        return await self._desk.get(delivery_id)

    async def retry(self, delivery_id: str, by_key: str) -> Json:
        await self._check(delivery_id)
        return await self._desk.retry(delivery_id, by_key)

    async def drop(self, delivery_id: str, by_key: str) -> Json:
        await self._check(delivery_id)
        return await self._desk.drop(delivery_id, by_key)

    async def _check(self, delivery_id: str) -> None:
        if not await self._audit.has(delivery_id, self._reader):
            raise RefusedError("There is no such delivery that waits, was given up, or is on record.", "delivery_not_found", 404)
