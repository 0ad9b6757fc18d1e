"""What several nodes share in PostgreSQL beside the ledger: held requests, API keys, sessions, and who they are."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.postgres.api_keys import PostgresApiKeys
from adapters.postgres.connection import Server, check_url, connect
from adapters.postgres.envoy_reports import PostgresEnvoyReports
from adapters.postgres.grants import SHARED_GRANTS, grant
from adapters.postgres.lessons import PostgresLessons
from adapters.postgres.members import PostgresMembers
from adapters.postgres.notices import PostgresNotices
from adapters.postgres.reviews import PostgresReviews
from adapters.postgres.schema import (
    LEARNING,
    LEARNING_STEPS,
    NOTICES,
    NOTICES_STEPS,
    REPORT_STEPS,
    REPORTS,
    SESSION_STEPS,
    SESSIONS,
    SHARED,
    SHARED_STEPS,
    migrate,
)
from adapters.postgres.sessions import PostgresSessions

__all__ = ["PostgresShared", "Server", "check_url"]


@dataclass(frozen=True, slots=True)
class PostgresShared:
    server: Server
    patience: float = 5.0

    def members(self, node: str, name: str) -> PostgresMembers:
        """Not open yet."""
        return PostgresMembers(self.server, node, name)

    def reviews(self, members: PostgresMembers) -> PostgresReviews:
        return PostgresReviews(self.server, members, self.patience)

    def notices(self) -> PostgresNotices:
        return PostgresNotices(self.server, self.patience)

    def lessons(self) -> PostgresLessons:
        return PostgresLessons(self.server, self.patience)

    def api_keys(self) -> PostgresApiKeys:
        return PostgresApiKeys(self.server)

    def sessions(self) -> PostgresSessions:
        return PostgresSessions(self.server)

    def envoy_reports(self, node: str) -> PostgresEnvoyReports:
        """Not open yet."""
        return PostgresEnvoyReports(self.server, node)

    def migrate(self) -> list[tuple[str, int, int]]:
        """Makes the tables, or brings them to this release's format: (part, the format before, the format now)."""
        connection = connect(self.server)
        try:
            parts = (
                (SHARED, SHARED_STEPS),
                (NOTICES, NOTICES_STEPS),
                (SESSIONS, SESSION_STEPS),
                (LEARNING, LEARNING_STEPS),
                (REPORTS, REPORT_STEPS),
            )
            return [(part, migrate(connection, self.server, part, steps), max(steps)) for part, steps in parts]
        finally:
            connection.close()

    def grant(self, role: str) -> None:
        """What a node needs."""
        grant(self.server, role, SHARED_GRANTS)
