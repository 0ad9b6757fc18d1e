"""How people sign in, from the configuration."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from router.config.identity import LOCAL
from router.config.listeners import ControlConfig
from router.config.sign_in import OidcConfig
from router.control.sign_in.browser import OIDC, SIGN_IN
from router.control.sign_in.parts import SignIn
from router.errors import ConfigError
from router.identity.break_glass import PATH as BREAK_GLASS
from router.identity.break_glass import BreakGlass
from router.identity.claims import ClaimNames
from router.identity.local_links import PATH, LocalLinks
from router.identity.oidc.client import ClientTerms, OidcClient, Signer, make_signer
from router.identity.oidc.provider import Provider
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
    oidc = make_oidc(settings.oidc, workspace.root, clock) if settings.oidc is not None else None
    recheck = settings.oidc.recheck if settings.oidc is not None else settings.absolute
    sessions = SessionService(store, clock, SessionLimits(settings.idle, settings.absolute, settings.sessions, recheck))
    return SignIn(sessions, is_secure(control), local, oidc, break_glass(workspace, clock))


def is_secure(control: ControlConfig) -> bool:
    """Whether browsers reach the listener over TLS; behind a proxy that ends it they do, too."""
    oidc = control.sign_in.oidc
    return control.tls is not None or not control.listen.loopback or (oidc is not None and oidc.public_url.startswith("https://"))


def make_oidc(settings: OidcConfig, root: Path, clock: Clock) -> OidcClient:
    """Asks nobody anything yet. Raises ConfigError where the client's private key cannot be used."""
    from adapters.jwks_http import JwksUrl  # aiohttp is for who asks somebody
    from adapters.oidc_http import OidcHttp

    secret, console = settings.client_secret, f"{settings.public_url}{SIGN_IN}"
    if secret is not None:
        secret.reveal(root)  # a file that is missing is found now, and not when the first person signs in
    terms = ClientTerms(
        client_id=settings.client_id,
        redirect_uri=f"{settings.public_url}{OIDC}/callback",
        after_logout=console,
        roles=settings.roles,
        secret=(lambda: secret.reveal(root)) if secret is not None else None,
        signer=_signer(settings, root),
        scopes=settings.scopes,
        algorithms=settings.algorithms,
        leeway=settings.leeway,
        max_age=settings.max_age,
        claims=ClaimNames(**settings.claims.model_dump()),
        subject_prefix=settings.subject_prefix,
        tenant_required=settings.tenant_required,
    )
    http = OidcHttp(trust_env=(urlsplit(settings.issuer).hostname or "") not in LOCAL)
    return OidcClient(Provider(settings.issuer, http, JwksUrl, clock), terms, clock)


def _signer(settings: OidcConfig, root: Path) -> Signer | None:
    if settings.private_key is None:
        return None
    path = root / settings.private_key
    try:
        return make_signer(path.read_bytes(), settings.client_id, settings.private_key_id)
    except OSError as error:
        raise ConfigError(f"'control.sign_in.oidc.private_key': {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigError(f"'control.sign_in.oidc.private_key': {path} {error}.") from error


def local_links(workspace: Workspace, clock: Clock) -> LocalLinks | None:
    """None where nobody signs in so. Raises AuditError where the sealing key cannot be read."""
    if not links_wanted(workspace.config.control):
        return None
    return LocalLinks(open_sealing_key(workspace.config.audit.sealing_key, workspace.root, create=False), clock)


def break_glass(workspace: Workspace, clock: Clock) -> BreakGlass | None:
    """None where it is switched off. Raises AuditError where the sealing key cannot be read."""
    if not workspace.config.control.sign_in.break_glass:
        return None
    return BreakGlass(open_sealing_key(workspace.config.audit.sealing_key, workspace.root, create=False), clock)


def break_glass_url(control: ControlConfig, address: Address, token: str) -> str:
    oidc = control.sign_in.oidc
    base = oidc.public_url if oidc is not None else f"{'https' if control.tls is not None else 'http'}://{address}"
    return f"{base}{BREAK_GLASS}?token={token}"


def links_wanted(control: ControlConfig) -> bool:
    return control.listen.loopback and control.sign_in.local and control.sign_in.oidc is None


def link_url(control: ControlConfig, address: Address, token: str) -> str:
    return f"{'https' if control.tls is not None else 'http'}://{address}{PATH}?token={token}"
