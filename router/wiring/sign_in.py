"""How people sign in, from the configuration."""

from __future__ import annotations

from router.config.listeners import ControlConfig
from router.control.sign_in.parts import SignIn
from router.identity.local_links import PATH, LocalLinks
from router.identity.sessions import SessionLimits, SessionService
from router.ports import Clock
from router.settings import Address
from router.wiring.ledger_keys import open_sealing_key
from router.wiring.nodes import sessions_of
from router.workspace import Workspace


def make_sign_in(workspace: Workspace, clock: Clock) -> SignIn:
    """Open. May wait. Raises ConfigError, StateError, AuditError."""
    control = workspace.config.control
    settings = control.sign_in
    local = local_links(workspace, clock)
    store = sessions_of(workspace)
    store.open()
    sessions = SessionService(store, clock, SessionLimits(settings.idle, settings.absolute, settings.sessions))
    return SignIn(sessions, secure=control.tls is not None or not control.listen.loopback, local=local)


def local_links(workspace: Workspace, clock: Clock) -> LocalLinks | None:
    """None where nobody signs in so. Raises AuditError where the sealing key cannot be read."""
    if not links_wanted(workspace.config.control):
        return None
    return LocalLinks(open_sealing_key(workspace.config.audit.sealing_key, workspace.root, create=False), clock)


def links_wanted(control: ControlConfig) -> bool:
    return control.listen.loopback and control.sign_in.local


def link_url(control: ControlConfig, address: Address, token: str) -> str:
    return f"{'https' if control.tls is not None else 'http'}://{address}{PATH}?token={token}"
