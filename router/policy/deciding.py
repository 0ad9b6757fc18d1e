"""Policies to put recorded decisions to: those that a workspace decides by, or a candidate."""

from __future__ import annotations

import os
from pathlib import Path

from router.bundle.archive import MAX_PACKED, unpack
from router.bundle.content import read_bundle
from router.errors import BundleError, ConfigError
from router.policy.folder import PolicyFolder, find
from router.workspace import parse, read


def deciding(config: Path) -> PolicyFolder:
    """What `serve` would load now, be it a folder or a bundle. Raises ConfigError."""
    workspace = parse(read(config, os.environ), os.environ)
    return PolicyFolder(workspace.root, workspace.policies, {}, workspace.policy_data, "data.yaml")


def candidate(place: Path | None, config: Path, data: Path | None) -> PolicyFolder:
    """A folder, the workspace's own where none is named, or a bundle whose signature is nobody's concern yet. A bundle that leaves the
    settings to others gets `data`, or else those of the workspace. Raises ConfigError, BundleError."""
    if place is None or not place.is_file():
        return find(place, config, data)
    try:
        with place.open("rb") as file:
            bundle = read_bundle(unpack(file.read(MAX_PACKED + 1), str(place)))
    except OSError as error:
        raise BundleError(f"{place} cannot be read: {error.strerror}.") from error
    if bundle.has_settings:
        if data is not None:
            raise ConfigError(f"{place}: The bundle has the data itself; leave --data out.")
        return PolicyFolder(place, bundle.policies, bundle.tests, bundle.data, str(place))
    beside = find(None, config, data)
    return PolicyFolder(place, bundle.policies, bundle.tests, beside.data, beside.data_file)
