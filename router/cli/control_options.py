"""Options of every command that speaks to a control API: where it is, by what it is known to be it, and who asks."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path, dir_okay=False)
CA, CERT, KEY = "lockgate.ca", "lockgate.client_cert", "lockgate.client_key"


@dataclass(frozen=True, slots=True)
class Trust:
    """PEM files. `ca`: authorities of the control API's certificate, in place of the system's. `certificate` and `key`: what this command
    shows; the key may be in the certificate's file."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Raises BadParameter in one sentence."""
        try:
            made = ssl.create_default_context(cafile=self.ca)
        except (OSError, ValueError) as error:
            raise click.BadParameter(f"{self.ca} has no certificates in PEM that can be used: {_said(error)}", param_hint="--ca") from None
        if self.certificate is not None:
            try:
                made.load_cert_chain(self.certificate, self.key)
            except (OSError, ValueError) as error:
                where = " and ".join(str(each) for each in (self.certificate, self.key) if each is not None)
                raise click.BadParameter(f"{where}: no certificate with its key: {_said(error)}", param_hint="--client-cert") from None
        return made


def url_option(command: F) -> F:
    """`--url`, and what TLS takes; that goes to who makes the connection without passing through the command."""
    for name, place, envvar, told in (
        ("--client-key", KEY, "LOCKGATE_CLIENT_KEY", "Key of --client-cert, PEM; where it is in another file."),
        ("--client-cert", CERT, "LOCKGATE_CLIENT_CERT", "Client certificate to show, PEM; it may say who asks, and no key is needed then."),
        ("--ca", CA, "LOCKGATE_CONTROL_CA", "Authorities of the control API's certificate, PEM; the system's without."),
    ):
        shown: dict[str, Any] = {"envvar": envvar, "show_envvar": True, "type": FILE, "help": told}
        command = click.option(name, **shown, expose_value=False, callback=_kept(place))(command)
    told = "The control API, instead of the configuration's."
    return click.option("--url", envvar="LOCKGATE_CONTROL_URL", show_envvar=True, help=told)(command)


def key_option(told: str) -> Callable[[F], F]:
    """Whether one is needed the connection knows: a certificate may do."""
    return click.option("--key", envvar="LOCKGATE_KEY", show_envvar=True, default="", help=told)


def trust() -> Trust:
    """Of the command that runs."""
    context = click.get_current_context(silent=True)
    found = context.meta if context is not None else {}
    if found.get(KEY) is not None and found.get(CERT) is None:
        raise click.UsageError("--client-key is the key of --client-cert; give both.")
    return Trust(found.get(CA), found.get(CERT), found.get(KEY))


def _kept(place: str) -> Callable[[click.Context, click.Parameter, Path | None], None]:
    def keep(context: click.Context, _: click.Parameter, value: Path | None) -> None:
        context.meta[place] = value

    return keep


def _said(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return (getattr(error, "strerror", None) or str(error)).lower()
