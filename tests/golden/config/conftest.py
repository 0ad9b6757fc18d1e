from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from router.errors import ConfigError
from router.registry import Adapter, Registry
from router.workspace import Workspace, parse, read

REGISTRY = Registry(
    {
        ("destination", "tiny"): Adapter("tests.golden.config.tiny_destination"),
        ("destination", "extra"): Adapter("tests.golden.config.no_such_module", extra="kafka"),
        ("policy engine", "opa"): Adapter("adapters.opa.server", config="router.config.opa:OpaEngine"),
        ("policy engine", "isolated"): Adapter("adapters.rego.isolated", config="router.config.isolated:IsolatedEngine"),
        ("policy engine", "embedded"): Adapter("adapters.rego.embedded", config="router.config.judgement:EmbeddedEngine"),
        ("projection", "otlp"): Adapter("tests.golden.config.tiny_destination"),
        ("projection", "parquet"): Adapter("tests.golden.config.tiny_destination"),
        ("projection", "duckdb"): Adapter("tests.golden.config.tiny_destination"),
        ("encoder", "minilm"): Adapter("embeddings.minilm", config="router.config.judgement:MinilmEncoder"),
        ("encoder", "litellm"): Adapter("adapters.litellm_encoder", config="router.config.judgement:LitellmEncoderSettings"),
        ("index", "memory"): Adapter("embeddings.index", config="router.config.judgement:MemoryIndexSettings"),
        ("index", "qdrant"): Adapter("adapters.qdrant_index", config="router.config.judgement:QdrantIndexSettings"),
        ("shared state", "extra"): Adapter(
            "tests.golden.config.no_such_module", extra="redis", config="router.config.shared_state:RedisSettings"
        ),
        ("shared state", "redis"): Adapter("adapters.redis_state.kept", config="router.config.shared_state:RedisSettings"),
        ("ledger store", "sqlite"): Adapter("adapters.sqlite.place", config="router.config.evidence:SqliteStoreSettings"),
        ("ledger store", "postgres"): Adapter("adapters.postgres.place", config="router.config.evidence:PostgresStoreSettings"),
        ("node store", "postgres"): Adapter("adapters.postgres.shared", config="router.config.nodes:PostgresNodesSettings"),
        ("encoder", "onnx"): Adapter("embeddings.onnx_encoder", config="router.config.judgement:OnnxEncoderSettings"),
    }
)
ENVIRONMENT = {"LEDGER_NAME": "ledger.test/main", "SECRET_PORT": "hunter2", "EMPTY": ""}
GOOD = {
    "lockgate.yaml": "version: 1\n",
    "catalog.yaml": (
        "version: 1\n"
        "destinations: {desk: {adapter: tiny, url: 'http://127.0.0.1:9000'}}\n"
        "routes: {ask: {destination: desk, path: /ask, method: POST}}\n"
        "intents:\n"
        "  status: {description: Where it is., route: ask, examples: [where is it, how far is it]}\n"
        "  stop: {description: Stop it., route: ask, examples: [stop, call it off]}\n"
    ),
    "policies/decision.rego": "package lockgate.decision\n",
}


def normalised(workspace: Workspace) -> str:
    """Everything that was configured, defaults included, as YAML."""
    parts = {
        "config": workspace.config.model_dump(mode="json", by_alias=True),
        "catalog": workspace.catalog.model_dump(mode="json", by_alias=True),
        "destinations": {name: settings.model_dump(mode="json", by_alias=True) for name, settings in workspace.destinations.items()},
        "encoder": workspace.encoder.model_dump(mode="json", by_alias=True),
        "index": workspace.index.model_dump(mode="json", by_alias=True),
        "ledger_store": workspace.ledger_store.model_dump(mode="json", by_alias=True),
        "policies": sorted(workspace.policies),
    }
    if workspace.shared_state is not None:
        parts["shared_state"] = workspace.shared_state.model_dump(mode="json", by_alias=True)
    engines = {"engine": workspace.engine, "second_engine": workspace.second_engine}
    parts |= {name: each.model_dump(mode="json") for name, each in engines.items() if each is not None and each.model_dump()}
    return yaml.safe_dump(parts, sort_keys=False, allow_unicode=True, width=120)


def sections(case: str) -> dict[str, str]:
    """`--- name` begins a section; a section that is only `(absent)` takes the file away."""
    found: dict[str, str] = {}
    for part in case.split("--- ")[1:]:
        name, _, text = part.partition("\n")
        found[name.strip()] = text
    return found


@pytest.fixture
def load(tmp_path: Path) -> Callable[[dict[str, str]], Workspace]:
    def load(files: dict[str, str]) -> Workspace:
        for name, text in {**GOOD, **files}.items():
            if text.strip() != "(absent)":
                path = tmp_path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return parse(read(tmp_path, ENVIRONMENT), ENVIRONMENT, REGISTRY)

    return load


@pytest.fixture
def faults(load: Callable[[dict[str, str]], Workspace]) -> Callable[[dict[str, str]], str]:
    def faults(files: dict[str, str]) -> str:
        try:
            load(files)
        except ConfigError as error:
            return "\n".join(error.faults) + "\n"
        return "(none)\n"

    return faults
