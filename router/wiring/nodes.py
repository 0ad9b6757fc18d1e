"""What this node shares with others, where the configuration has `nodes`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from adapters.kept_lessons import KeptLessons
from adapters.kept_notices import KeptNotices
from adapters.kept_reviews import KeptReviews
from adapters.sqlite.api_keys import SqliteApiKeys
from adapters.sqlite.lessons import LessonFile, SqliteLessons
from adapters.sqlite.notices import NoticeFile, SqliteNotices
from adapters.sqlite.reviews import ReviewFile, SqliteReviews
from adapters.sqlite.sessions import SqliteSessions
from router.config.evidence import PostgresStoreSettings
from router.config.nodes import PostgresNodesSettings
from router.errors import ConfigError
from router.ports import ApiKeys, Clock, Sessions
from router.registry import ADAPTERS
from router.workspace import Workspace

REVIEWS_FILE, API_KEYS_FILE, NOTICES_FILE = "reviews.sqlite", "identity.sqlite", "notices.sqlite"
SESSIONS_FILE, LEARNING_FILE = "sessions.sqlite", "learning.sqlite"
REVIEWS, API_KEYS = "reviews", "api_keys"


class OpenApiKeys(ApiKeys, Protocol):
    def open(self) -> None:
        """May wait. Raises StateError."""

    def close(self) -> None: ...

    def ping(self) -> None: ...


class Member(Protocol):
    """Times are Unix seconds by the database's clock. `told` is what the node says of itself."""

    @property
    def node(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def started(self) -> float: ...

    @property
    def seen(self) -> float: ...

    @property
    def alive(self) -> bool: ...

    @property
    def told(self) -> dict[str, Any]: ...


class Members(Protocol):
    """The nodes of one ledger, as they say that they are there. Every method may wait, and raises AuditError."""

    node: str

    def open(self, told: dict[str, Any]) -> None: ...

    def beat(self, told: dict[str, Any]) -> bool:
        """Whether it is on record that this node was lost, and not yet that it is back."""

    def all(self) -> Sequence[Member]: ...

    def lost(self, after: float) -> Sequence[Member]:
        """Those that nothing was heard of for so many seconds, nor said of, where it is this node's turn to say so."""

    def told_lost(self, node: str) -> None:
        """That it is lost is on record."""

    def told_back(self) -> None:
        """That this node is back is on record."""

    def close(self) -> None: ...


class EnvoyReportStore(Protocol):
    """Reports of Envoy's access log on their way to the node that decided. Every method may wait, and raises AuditError."""

    def open(self) -> None: ...

    def exchange(self, sealed: Sequence[tuple[str, bytes]]) -> Sequence[bytes]:
        """Leaves each for the node that it names, and takes what was left for this one, perhaps a second time."""

    def prune(self) -> None:
        """Forgets what nobody is going to take."""

    def close(self) -> None: ...


class SharedPlace(Protocol):
    def members(self, node: str, name: str) -> Members: ...

    def reviews(self, members: Members) -> KeptReviews: ...

    def notices(self) -> KeptNotices: ...

    def lessons(self) -> KeptLessons: ...

    def api_keys(self) -> OpenApiKeys: ...

    def sessions(self) -> Sessions: ...

    def envoy_reports(self, node: str) -> EnvoyReportStore: ...

    def migrate(self) -> list[tuple[str, int, int]]:
        """(part, format before, format now). Raises AuditError."""

    def grant(self, role: str) -> None:
        """To a database's user, what a node may do. Raises AuditError."""


def shared_place(workspace: Workspace) -> SharedPlace | None:
    """None for a node that shares nothing but, perhaps, its ledger. Raises ConfigError."""
    settings, nodes = workspace.node_store, workspace.config.nodes
    if nodes is None or not isinstance(settings, PostgresNodesSettings):
        return None
    module = ADAPTERS.load("node store", nodes.store.adapter)
    secret, ledger = settings.url, workspace.ledger_store
    if secret is None and isinstance(ledger, PostgresStoreSettings):
        secret = ledger.url
    url = "" if secret is None else secret.reveal(workspace.root)
    try:
        module.check_url(url)
    except ConfigError as error:
        raise ConfigError(f"'nodes.store.url': {error}") from error
    server = module.Server(url, settings.schema_name, settings.connect_within, settings.answer_within)
    found: SharedPlace = module.PostgresShared(server, settings.patience)
    return found


def api_keys_of(workspace: Workspace, clock: Clock) -> OpenApiKeys:
    """Not open yet. Raises ConfigError."""
    place, nodes = shared_place(workspace), workspace.config.nodes
    if place is not None and nodes is not None and API_KEYS in nodes.share:
        return place.api_keys()
    return SqliteApiKeys(workspace.path(workspace.config.state) / API_KEYS_FILE, clock)


def sessions_of(workspace: Workspace) -> Sessions:
    """Where the API keys are, for both say who may use the control API. Not open yet. Raises ConfigError."""
    place, nodes = shared_place(workspace), workspace.config.nodes
    if place is not None and nodes is not None and API_KEYS in nodes.share:
        return place.sessions()
    return SqliteSessions(workspace.path(workspace.config.state) / SESSIONS_FILE)


def reviews_of(workspace: Workspace, members: Members | None) -> KeptReviews:
    """Not open yet. `members`: this node among the others. Raises ConfigError."""
    place, nodes = shared_place(workspace), workspace.config.nodes
    if place is not None and nodes is not None and members is not None and REVIEWS in nodes.share:
        return place.reviews(members)
    return SqliteReviews(ReviewFile(workspace.path(workspace.config.state) / REVIEWS_FILE))


def notices_of(workspace: Workspace, members: Members | None) -> KeptNotices:
    """Beside the held requests that they are about. Not open yet. Raises ConfigError."""
    place, nodes = shared_place(workspace), workspace.config.nodes
    if place is not None and nodes is not None and members is not None and REVIEWS in nodes.share:
        return place.notices()
    return SqliteNotices(NoticeFile(workspace.path(workspace.config.state) / NOTICES_FILE))


def lessons_of(workspace: Workspace) -> KeptLessons:
    """Of all nodes together, where there are several. Not open yet. Raises ConfigError."""
    place = shared_place(workspace)
    if place is not None:
        return place.lessons()
    return SqliteLessons(LessonFile(workspace.path(workspace.config.state) / LEARNING_FILE))
