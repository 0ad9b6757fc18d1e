"""Projections from the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from router.audit.copies.projecting import Kept, Projection, digest
from router.audit.records.table import COLUMNS, LEAF
from router.config.projections import DuckdbProjection, ParquetProjection
from router.registry import ADAPTERS
from router.workspace import Workspace

FOLDER = "projections"  # in the state directory: marks and locks


@dataclass(frozen=True, slots=True)
class Followed:
    """`lock` is held by whoever writes to the projection; `every` is seconds."""

    name: str
    projection: Projection
    every: float
    lock: Path


def make_projections(workspace: Workspace) -> list[Followed]:
    """Raises ConfigError where an extra is missing."""
    folder = workspace.path(workspace.config.state) / FOLDER
    return [
        Followed(name, _make(workspace, name, folder), block.every, folder / f"{name}.lock")
        for name, block in workspace.config.audit.projections.items()
    ]


def _make(workspace: Workspace, name: str, folder: Path) -> Projection:
    block = workspace.config.audit.projections[name]
    module, columns = ADAPTERS.load("projection", block.adapter), (*COLUMNS, *LEAF)
    made: Projection
    if isinstance(block, ParquetProjection):
        made = module.ParquetDirectory(workspace.path(block.directory), columns, digest, Kept)
    elif isinstance(block, DuckdbProjection):
        made = module.DuckdbFile(workspace.path(block.file), columns, Kept)
    else:
        made = module.OtlpLogs(block.url, folder / f"{name}.json")
    return made
