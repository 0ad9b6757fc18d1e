"""Which adapter is behind which name. An explicit table: only what is configured is imported, so a missing extra breaks nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import BaseModel

from router.errors import ConfigError
from router.faults import suggestion


@dataclass(frozen=True, slots=True)
class Adapter:
    """`module` has what the kind asks of it; `config` is the strict model of its settings (`module:Class`, or `Class` in `module`);
    `extra` is what to install beside the base."""

    module: str
    extra: str | None = None
    config: str = "Config"


class Registry:
    def __init__(self, adapters: Mapping[tuple[str, str], Adapter]) -> None:
        self._adapters = dict(adapters)

    def names(self, kind: str) -> tuple[str, ...]:
        return tuple(name for of, name in self._adapters if of == kind)

    def load(self, kind: str, name: str) -> Any:
        """The adapter's module. Raises ConfigError with one sentence."""
        adapter = self._adapter(kind, name)
        return self._import(kind, name, adapter, adapter.module)

    def settings(self, kind: str, name: str) -> type[BaseModel]:
        """The strict model of the adapter's own settings. Raises ConfigError with one sentence."""
        adapter = self._adapter(kind, name)
        module, _, attribute = adapter.config.rpartition(":")
        model: type[BaseModel] = getattr(self._import(kind, name, adapter, module or adapter.module), attribute)
        return model

    def _adapter(self, kind: str, name: str) -> Adapter:
        adapter = self._adapters.get((kind, name))
        if adapter is None:
            raise ConfigError(f"There is no {kind} adapter '{name}'.{suggestion(name, self.names(kind))}")
        return adapter

    def _import(self, kind: str, name: str, adapter: Adapter, module: str) -> Any:
        try:
            return import_module(module)
        except ModuleNotFoundError as error:
            if adapter.extra is not None:
                raise ConfigError(f"The {kind} adapter '{name}' needs more packages: pip install 'lockgate[{adapter.extra}]'.") from error
            raise ConfigError(f"The {kind} adapter '{name}' cannot be loaded: the module {error.name} is not installed.") from error


ADAPTERS = Registry(
    {
        ("destination", "http"): Adapter("adapters.http_destination"),
        ("destination", "airflow"): Adapter("adapters.airflow_destination"),
        ("destination", "argo"): Adapter("adapters.argo_destination"),
        ("destination", "camunda"): Adapter("adapters.camunda_destination"),
        ("destination", "kestra"): Adapter("adapters.kestra_destination"),
        ("destination", "prefect"): Adapter("adapters.prefect_destination"),
        ("destination", "stepfunctions"): Adapter("adapters.stepfunctions_destination"),
        ("destination", "webhook"): Adapter("adapters.webhook_destination"),
        ("destination", "retrieval"): Adapter("adapters.retrieval_destination"),
        ("destination", "grpc"): Adapter("adapters.grpc_destination", extra="grpc", config="adapters.grpc_service.config:Config"),
        ("destination", "llm"): Adapter("adapters.llm_destination", extra="llm", config="adapters.llm.config:Config"),
        ("destination", "mcp"): Adapter("adapters.mcp_destination", extra="mcp", config="adapters.mcp_tool.config:Config"),
        ("destination", "a2a"): Adapter("adapters.a2a_destination", extra="a2a", config="adapters.a2a_agent.config:Config"),
        ("destination", "nats"): Adapter("adapters.nats_destination", extra="nats", config="adapters.nats.config:DestinationConfig"),
        ("event source", "nats"): Adapter("adapters.nats_consumer", extra="nats", config="adapters.nats.config:ConsumerConfig"),
        ("destination", "kafka"): Adapter("adapters.kafka_destination", extra="kafka", config="adapters.kafka.config:DestinationConfig"),
        ("event source", "kafka"): Adapter("adapters.kafka_consumer", extra="kafka", config="adapters.kafka.config:ConsumerConfig"),
        ("destination", "temporal"): Adapter("adapters.temporal_destination", extra="temporal", config="adapters.temporal.config:Config"),
        ("destination", "rabbitmq"): Adapter("adapters.rabbitmq_destination", extra="rabbitmq", config="adapters.rabbitmq.config:Config"),
        ("destination", "sqs"): Adapter("adapters.sqs_destination"),
        ("destination", "sns"): Adapter("adapters.sns_destination"),
        ("destination", "eventbridge"): Adapter("adapters.eventbridge_destination"),
        ("event source", "sqs"): Adapter("adapters.sqs_consumer", config="adapters.aws.config:SqsSource"),
        ("destination", "redis-stream"): Adapter(
            "adapters.redis_stream_destination", extra="redis", config="adapters.redis_streams.config:StreamConfig"
        ),
        ("event source", "redis-stream"): Adapter(
            "adapters.redis_stream_consumer", extra="redis", config="adapters.redis_streams.config:StreamSource"
        ),
        ("event source", "rabbitmq"): Adapter(
            "adapters.rabbitmq_consumer", extra="rabbitmq", config="adapters.rabbitmq.config:ConsumerConfig"
        ),
        ("notifier", "webhook"): Adapter("adapters.webhook_notifier"),
        ("notifier", "email"): Adapter("adapters.email_notifier"),
        ("notifier", "slack"): Adapter("adapters.slack_notifier"),
        ("notifier", "teams"): Adapter("adapters.teams_notifier"),
        ("policy engine", "embedded"): Adapter("adapters.rego.embedded", config="router.config.judgement:EmbeddedEngine"),
        ("policy engine", "isolated"): Adapter("adapters.rego.isolated", config="router.config.isolated:IsolatedEngine"),
        ("policy engine", "opa"): Adapter("adapters.opa.server", config="router.config.opa:OpaEngine"),
        ("ledger key", "file"): Adapter("adapters.local_signing_key", config="router.config.ledger_keys:SigningKeyReference"),
        ("ledger key", "env"): Adapter("adapters.local_signing_key", config="router.config.ledger_keys:SigningKeyReference"),
        ("ledger key", "vault"): Adapter("adapters.vault_transit", config="router.config.ledger_keys:VaultKey"),
        ("secret store", "vault"): Adapter("adapters.vault_secrets", config="router.config.secrets:VaultSecrets"),
        ("recogniser", "presidio"): Adapter(
            "adapters.presidio_recogniser", extra="presidio", config="router.config.judgement:PresidioSettings"
        ),
        ("encoder", "minilm"): Adapter("embeddings.minilm", config="router.config.judgement:MinilmEncoder"),
        ("encoder", "onnx"): Adapter("embeddings.onnx_encoder", config="router.config.judgement:OnnxEncoderSettings"),
        ("encoder", "sentence-transformers"): Adapter(
            "embeddings.sentence_transformers_encoder",
            extra="sentence-transformers",
            config="router.config.judgement:SentenceTransformersEncoder",
        ),
        ("encoder", "litellm"): Adapter("adapters.litellm_encoder", extra="llm", config="router.config.judgement:LitellmEncoderSettings"),
        ("index", "memory"): Adapter("embeddings.index", config="router.config.judgement:MemoryIndexSettings"),
        ("index", "qdrant"): Adapter("adapters.qdrant_index", extra="qdrant", config="router.config.judgement:QdrantIndexSettings"),
        ("projection", "parquet"): Adapter("adapters.parquet_projection", extra="parquet"),
        ("projection", "duckdb"): Adapter("adapters.duckdb_projection", extra="duckdb"),
        ("projection", "otlp"): Adapter("adapters.otlp_projection"),
        ("shared state", "redis"): Adapter("adapters.redis_state.kept", extra="redis", config="router.config.shared_state:RedisSettings"),
        ("ledger store", "sqlite"): Adapter("adapters.sqlite.place", config="router.config.evidence:SqliteStoreSettings"),
        ("ledger store", "postgres"): Adapter(
            "adapters.postgres.place", extra="postgres", config="router.config.evidence:PostgresStoreSettings"
        ),
        ("node store", "postgres"): Adapter(
            "adapters.postgres.shared", extra="postgres", config="router.config.nodes:PostgresNodesSettings"
        ),
        ("language model", "litellm"): Adapter("adapters.litellm_tier", extra="llm", config="router.config.judgement:LlmConfig"),
    }
)
