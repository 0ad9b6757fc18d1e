"""What `lockgate envoy config` is told beside the workspace, and what Envoy is to be told of Lockgate's door."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import PurePath
from typing import Literal

from router.config import EnvoyConfig
from router.errors import ConfigError
from router.settings import Address
from router.workspace import Workspace

Filter = Literal["ext_proc", "ext_authz"]
Bodies = Literal["buffered", "streamed"]
CLUSTER = "lockgate"  # the cluster that is asked, and the namespace of what it says of a request
EXT_PROC_FILTER = "envoy.filters.http.ext_proc"
EXT_AUTHZ_FILTER = "envoy.filters.http.ext_authz"
ROUTE, DESTINATION = "x-lockgate-route", "x-lockgate-destination"
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"  # of Debian, Alpine and Envoy's own images
TESTED_WITH = "1.40.0"
LISTEN = Address("127.0.0.1", 10000)
ADMIN = Address("127.0.0.1", 9901)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files as Envoy finds them. `certificate` with `key` is what Envoy shows of itself."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """`bodies`: held by Envoy up to the view, or passed through the door, which can then let larger ones go on. `lockgate`: where the door
    is, instead of where this workspace's workers listen. `files`: where the files that the catalog names are for Envoy. `system_ca`: the
    authorities of upstreams for which the catalog names none, since Envoy does not look for the system's. `http2`: destinations that speak
    HTTP/2 without saying so, as gRPC services do. `gateway`: the name of the Gateway, in Kubernetes."""

    filter: Filter = "ext_proc"
    bodies: Bodies = "buffered"
    listen: Address = LISTEN
    admin: Address = ADMIN
    lockgate: tuple[Address, ...] = ()
    door: TlsFiles = TlsFiles()
    downstream: TlsFiles = TlsFiles()
    files: PurePath | None = None
    system_ca: str = SYSTEM_CA
    http2: frozenset[str] = field(default_factory=frozenset)
    gateway: str = "lockgate"

    @property
    def namespace(self) -> str:
        """Where the door's dynamic metadata ends up; `ext_authz` has a fixed place for it."""
        return EXT_AUTHZ_FILTER if self.filter == "ext_authz" else CLUSTER

    def path(self, workspace: Workspace, relative: str) -> str:
        return str((self.files or workspace.root.absolute()) / relative)


def door_of(workspace: Workspace) -> EnvoyConfig:
    """Raises ConfigError where there is none."""
    if workspace.config.envoy is None:
        raise ConfigError("The configuration has no 'envoy' block, so that nobody would answer Envoy; write `envoy: {}` into it.")
    return workspace.config.envoy


def door_addresses(workspace: Workspace, options: Options) -> tuple[Address, ...]:
    """One for each worker, or those that were given. Raises ConfigError where a worker's own cannot be connected to."""
    if options.lockgate:
        return options.lockgate
    listen = door_of(workspace).listen
    if listen.port == 0 or _unspecified(listen.host):
        raise ConfigError(
            f"The door listens on {listen}, which is nothing to connect to; say with --lockgate HOST:PORT where Envoy finds it."
        )
    return tuple(Address(listen.host, listen.port + worker) for worker in range(workspace.config.workers))


def check(workspace: Workspace, options: Options) -> None:
    """Raises ConfigError with everything that would not work."""
    door = door_of(workspace)
    faults = [*_tls_faults(door, options)]
    if options.bodies == "streamed" and options.filter == "ext_authz":
        faults.append("Bodies are streamed through the door by ext_proc only; leave out --bodies or --filter.")
    if not options.admin.loopback:
        faults.append(f"Whoever reaches {options.admin} could stop Envoy; give --admin an address such as 127.0.0.1:9901.")
    unknown = sorted(options.http2 - workspace.catalog.destinations.keys())
    faults += [f"The catalog has no destination '{name}', which --http2 names." for name in unknown]
    if faults:
        raise ConfigError(*faults)


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _tls_faults(door: EnvoyConfig, options: Options) -> list[str]:
    faults = []
    for files, certificate, key in ((options.door, "--certificate", "--key"), (options.downstream, "--tls-certificate", "--tls-key")):
        if (files.certificate is None) != (files.key is None):
            faults.append(f"{certificate} and {key} belong together.")
    if door.tls is None and options.door != TlsFiles():
        faults.append("--ca, --certificate and --key are for a door with TLS, and 'envoy.tls' is not set.")
    if door.tls is not None and options.door.ca is None:
        faults.append("The door serves TLS; say with --ca which authorities Envoy is to trust for it.")
    if door.tls is not None and door.tls.client_certificates == "required" and options.door.certificate is None:
        faults.append("'envoy.tls.client_certificates' wants a certificate of Envoy; give --certificate and --key.")
    return faults


def _unspecified(host: str) -> bool:
    return is_address(host) and ip_address(host).is_unspecified
