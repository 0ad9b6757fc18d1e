"""The forms in which the configuration is written: for Envoy itself, as a piece for somebody's own, and for what runs Envoy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from router.envoy import gateway_api, istio
from router.envoy.bootstrap import bootstrap
from router.envoy.destinations import destination_clusters
from router.envoy.door import asking, door_cluster
from router.envoy.options import Options, check
from router.envoy.routes import routes
from router.envoy.values import Json
from router.errors import ConfigError
from router.workspace import Workspace

CORS = ("", "What the workspace says of CORS is not in here: browsers are refused until Envoy's own filter for it stands before the door.")


@dataclass(frozen=True, slots=True)
class Documents:
    """YAML documents, and what the file's header says beside where it comes from."""

    documents: Sequence[Json]
    notes: Sequence[str] = ()


def _bootstrap(workspace: Workspace, options: Options) -> Documents:
    ways = workspace.catalog.routes.values()
    shared = workspace.config.gateway.cors is not None or any(route.cors is not None for route in ways)
    return Documents([bootstrap(workspace, options)], CORS if shared else ())


def _filter(workspace: Workspace, options: Options) -> Documents:
    """For an Envoy that somebody configures: what Lockgate needs, to be put where it belongs."""
    notes = (
        "",
        "A piece for a configuration of your own: `http_filters` goes before the router, `routes` into the virtual host, `clusters` beside",
        "yours. Strip every `x-lockgate-*` field that a caller sends before this filter, or callers choose their own route.",
    )
    piece = {
        "http_filters": [asking(workspace, options)],
        "routes": list(routes(workspace, options)),
        "clusters": [door_cluster(workspace, options), *destination_clusters(workspace, options)],
    }
    return Documents([piece], notes)


def _envoy_gateway(workspace: Workspace, options: Options) -> Documents:
    notes = (
        "",
        f"For a Gateway '{options.gateway}' of Envoy Gateway in this namespace, with the Backend API switched on. Written from its",
        "published API and not tried in a cluster. An EnvoyProxy 'lockgate' below has to be named by the GatewayClass or the Gateway.",
    )
    return Documents(gateway_api.resources(workspace, options), notes)


def _istio(workspace: Workspace, options: Options) -> Documents:
    notes = (
        "",
        f"For an ingress gateway with the label istio={options.gateway}, and a Gateway of that name. Written from Istio's published API",
        "and not tried in a cluster; the patches' values are what `--format bootstrap` gives, which is tested. The EnvoyFilter goes into",
        "the namespace of the gateway's workload. Without it, or where Envoy refuses it, every route of the VirtualService is a 503.",
    )
    return Documents(istio.resources(workspace, options), notes)


FORMATS: Mapping[str, Callable[[Workspace, Options], Documents]] = {
    "bootstrap": _bootstrap,
    "envoy-gateway": _envoy_gateway,
    "istio": _istio,
    "filter": _filter,
}


def documents(form: str, workspace: Workspace, options: Options) -> Documents:
    """Raises ConfigError with everything that Envoy could not do as the workspace says."""
    if form not in FORMATS:
        raise ConfigError(f"There is no format '{form}'.")
    check(workspace, options)
    return FORMATS[form](workspace, options)
