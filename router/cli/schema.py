"""`lockgate schema`: the JSON Schemas of the two files, with every adapter's own settings in place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union

import click
from pydantic import BaseModel, Field, create_model
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import WithDefaultSchema

from router.catalog import Catalog
from router.cli.command_reference import command_reference
from router.cli.reference import reference
from router.config import AuditConfig, ClassifierConfig, Config, NodesConfig, PolicyConfig, SignalsConfig
from router.config.events import EventsConfig, EventSource
from router.config.evidence import ReviewConfig
from router.config.notify import Notify
from router.config.opa import CompareConfig
from router.control.role_data import roles_document
from router.library_reference import page
from router.registry import ADAPTERS, Registry
from router.settings import Address, Name

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def config_schema(registry: Registry = ADAPTERS) -> dict[str, Any]:
    encoder, engine = _union(registry, "encoder"), _union(registry, "policy engine")
    classifier = _with(_with(ClassifierConfig, "encoder", encoder), "index", _union(registry, "index"))
    policy = _with(_with(PolicyConfig, "engine", engine), "compare", _with(CompareConfig, "engine", engine) | None)
    signals = _with(SignalsConfig, "recogniser", _union(registry, "recogniser") | None)
    audit = _with(AuditConfig, "store", _union(registry, "ledger store"))
    nodes = _with(NodesConfig, "store", _union(registry, "node store"))
    shared = _union(registry, "shared state") | None
    made = _with(_with(_with(_with(Config, "classifier", classifier), "policy", policy), "signals", signals), "audit", audit)
    source: Any = _with(EventSource, "consume", _union(registry, "event source") | None) if registry.names("event source") else EventSource
    events: Any = _with(EventsConfig, "sources", Mapping[Name, source])
    notify: Any = _with(Notify, "through", _union(registry, "notifier")) if registry.names("notifier") else Notify
    made = _with(made, "review", _with(ReviewConfig, "notify", Mapping[Name, notify]))
    return _schema(_with(_with(_with(made, "nodes", nodes | None), "shared_state", shared), "events", events | None))


def catalog_schema(registry: Registry = ADAPTERS) -> dict[str, Any]:
    destination: Any = _union(registry, "destination")
    return _schema(_with(Catalog, "destinations", Mapping[Name, destination]))


def reference_files(registry: Registry = ADAPTERS) -> dict[str, str]:
    """What `docs/reference` holds, by file name, and the page of the library beside it."""
    config, catalog = config_schema(registry), catalog_schema(registry)
    return {
        "config.schema.json": json.dumps(config, indent=2, ensure_ascii=False) + "\n",
        "catalog.schema.json": json.dumps(catalog, indent=2, ensure_ascii=False) + "\n",
        "configuration.md": reference(config, catalog),
        "commands.md": command_reference(_root(), "lockgate"),
        "../policy-library.md": page(),
        "../../policies/control/data.yaml": roles_document(),
    }


def _root() -> click.Command:
    """Imported late: this module is one of its commands."""
    from router.cli.main import lockgate

    return lockgate


class _Generator(GenerateJsonSchema):
    def get_default_value(self, schema: WithDefaultSchema) -> Any:
        """Defaults as a file would have them: `10s` and not 10.0."""
        default = super().get_default_value(schema)
        inner: Any = schema["schema"]
        while inner["type"] in ("nullable", "function-after") and "serialization" not in inner:
            inner = inner["schema"]
        write = inner.get("serialization", {}).get("function")
        return write(default) if write is not None and isinstance(default, int | float | Address) else default


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"$schema": DIALECT, **model.model_json_schema(by_alias=True, schema_generator=_Generator)}


def _with(model: type[BaseModel], field: str, annotation: Any) -> type[BaseModel]:
    """The model with one field's type made more exact; for its schema only."""
    info = model.model_fields[field]
    make: Any = create_model
    made: type[BaseModel] = make(
        model.__name__,
        __base__=model,
        __doc__=model.__doc__,
        **{field: (annotation, Field(default=info.default, description=info.description))},
    )
    return made


def _union(registry: Registry, kind: str) -> Any:
    """Any of the adapters of a kind whose settings can be loaded here."""
    blocks = []
    for name in registry.names(kind):
        settings = registry.settings(kind, name)
        title = "".join(part.capitalize() for part in f"{name} {kind}".replace("-", " ").split())
        adapter: Any = (Literal[name], Field(description=f"`{name}`; the settings beside it are this adapter's."))
        blocks.append(create_model(title, __base__=settings, __doc__=settings.__doc__, adapter=adapter))
    return Union[tuple(blocks)]  # noqa: UP007  # made at run time


@click.command()
@click.argument("which", type=click.Choice(["config", "catalog"]))
def schema(which: str) -> None:
    """Print the JSON Schema of lockgate.yaml (config) or of the catalog."""
    made = config_schema() if which == "config" else catalog_schema()
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default="docs/reference")
@click.option("--write/--check", "writing", default=True, help="Write, or only fail when a file is not what would be written.")
def write(folder: Path, writing: bool) -> None:
    """Write the reference files, or check that they are up to date."""
    for name, text in reference_files().items():
        path = folder / name
        if not writing and (not path.exists() or path.read_text(encoding="utf-8") != text):
            raise click.ClickException(f"{path} is out of date; run `python -m router.cli.schema`.")
        if writing:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
