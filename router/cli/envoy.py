"""`lockgate envoy config`: a complete configuration of Envoy, made from the workspace."""

from __future__ import annotations

import os
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any

import click

from router.cli.common import config_option
from router.durable import replace
from router.envoy.formats import FORMATS, documents
from router.envoy.options import SYSTEM_CA, Options, TlsFiles
from router.envoy.writing import header, written
from router.settings import Address, address
from router.workspace import parse, read

OUTDATED = 1


class AddressType(click.ParamType[Address]):
    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        try:
            return address(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}.", param, ctx)


HOST_PORT = AddressType()


@click.group()
def envoy() -> None:
    """Put Envoy in front: it carries the requests, and asks Lockgate about each."""


@envoy.command()
@config_option
@click.option(
    "--filter",
    "kind",
    type=click.Choice(["ext_proc", "ext_authz"]),
    default="ext_proc",
    show_default=True,
    help="How Envoy asks: ext_proc sees responses too, and can be told not to wait for a body.",
)
@click.option(
    "--bodies",
    type=click.Choice(["buffered", "streamed"]),
    default="buffered",
    show_default=True,
    help="Held by Envoy, and a 413 beyond gateway.limits.view; or streamed through the door, up to gateway.limits.body.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="bootstrap",
    show_default=True,
    help="For Envoy itself, or for what runs it.",
)
@click.option("--lockgate", type=HOST_PORT, multiple=True, help="Where the door is, instead of this workspace's workers. May be repeated.")
@click.option("--listen", type=HOST_PORT, default="127.0.0.1:10000", show_default=True, help="Where Envoy takes requests.")
@click.option("--admin", type=HOST_PORT, default="127.0.0.1:9901", show_default=True, help="Where Envoy's own admin listens: on loopback.")
@click.option("--tls-certificate", metavar="FILE", help="PEM file with the certificate chain of Envoy's listener, as Envoy finds it.")
@click.option("--tls-key", metavar="FILE", help="PEM file with its key.")
@click.option("--ca", metavar="FILE", help="PEM file with the authorities of the door's certificate.")
@click.option("--certificate", metavar="FILE", help="PEM file with the certificate chain that Envoy shows to the door.")
@click.option("--key", metavar="FILE", help="PEM file with its key.")
@click.option("--files", metavar="FOLDER", help="Where Envoy finds the files that the catalog names, instead of the workspace's folder.")
@click.option(
    "--system-ca",
    metavar="FILE",
    default=SYSTEM_CA,
    show_default=True,
    help="Authorities of HTTPS upstreams for which the catalog names none.",
)
@click.option(
    "--http2", metavar="DESTINATION", multiple=True, help="A destination that speaks HTTP/2 unasked, as gRPC does. May be repeated."
)
@click.option("--gateway", metavar="NAME", default="lockgate", show_default=True, help="In Kubernetes: the Gateway that is for Lockgate.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write this file instead of printing.")
@click.option("--check", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Exit with 1 if this file would be another.")
def config(
    config: Path,
    kind: Any,
    bodies: Any,
    form: str,
    lockgate: tuple[Address, ...],
    listen: Address,
    admin: Address,
    tls_certificate: str | None,
    tls_key: str | None,
    ca: str | None,
    certificate: str | None,
    key: str | None,
    files: str | None,
    system_ca: str,
    http2: tuple[str, ...],
    gateway: str,
    output: Path | None,
    check: Path | None,
) -> int:
    """Write Envoy's configuration from the workspace: its routes, destinations, limits and the door.

    The same workspace and options give the same text, so it can be kept in version control and compared with --check.
    """
    options = Options(
        filter=kind,
        bodies=bodies,
        listen=listen,
        admin=admin,
        lockgate=lockgate,
        door=TlsFiles(ca, certificate, key),
        downstream=TlsFiles(None, tls_certificate, tls_key),
        files=None if files is None else PurePath(files),
        system_ca=system_ca,
        http2=frozenset(http2),
        gateway=gateway,
    )
    workspace = parse(read(config, os.environ, override=False), os.environ, measured=False)
    made = documents(form, workspace, options)
    text = written(made.documents, [*header(_version(), workspace.digests.config, _command()), *made.notes])
    if check is not None:
        return _compared(check, text)
    if output is None:
        click.echo(text, nl=False)
    else:
        with replace(output) as file:
            file.write(text.encode())
        output.chmod(0o644)  # there is no secret in it, and Envoy seldom runs as who writes it
    return 0


def _compared(path: Path, text: str) -> int:
    if _decisive(path.read_text(encoding="utf-8")) == _decisive(text):
        return 0
    click.echo(
        f"{path} is not what this workspace and these options give; write it again with --output {shlex.quote(str(path))}.", err=True
    )
    return OUTDATED


def _decisive(text: str) -> list[str]:
    """Without the header, whose digest is another one whenever any file of the workspace changes."""
    return [line for line in text.splitlines() if not line.startswith("#")]


def _version() -> str:
    try:
        return version("lockgate")
    except PackageNotFoundError:
        return "(not installed)"


def _command() -> str:
    """As it was given, without what says where the text goes: a file shall be the same whether it is written or compared."""
    arguments = iter(sys.argv[1:])
    kept = [each for each in arguments if not (each in ("--output", "-o", "--check") and (next(arguments, None) or True))]
    return shlex.join(["lockgate", *(each for each in kept if not each.startswith(("--output=", "--check=")))])
