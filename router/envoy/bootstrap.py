"""A complete configuration that Envoy starts with."""

from __future__ import annotations

from router.envoy.destinations import destination_clusters
from router.envoy.door import door_cluster
from router.envoy.listener import listener
from router.envoy.options import Options, check
from router.envoy.values import Json, extension, socket_address
from router.workspace import Workspace

MOST_CONNECTIONS = 10_000


def bootstrap(workspace: Workspace, options: Options) -> Json:
    """Raises ConfigError with everything that Envoy could not do as the workspace says."""
    check(workspace, options)
    return {
        "node": {"id": "lockgate-envoy", "cluster": "lockgate"},
        "admin": {"address": socket_address(options.admin)},
        "static_resources": {
            "listeners": [listener(workspace, options)],
            "clusters": [door_cluster(workspace, options), *destination_clusters(workspace, options)],
        },
        "overload_manager": {
            "resource_monitors": [
                extension(
                    "envoy.resource_monitors.global_downstream_max_connections",
                    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    max_active_downstream_connections=MOST_CONNECTIONS,
                )
            ]
        },
    }
