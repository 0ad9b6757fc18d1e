"""`lockgate.yaml` as frozen models. Every block may be left out; every key that is not known is a fault."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from router.config.blocks import AdapterBlock, OnAbstain
from router.config.envoy import EnvoyConfig
from router.config.events import EventsConfig
from router.config.evidence import AuditConfig, CheckpointConfig, ReviewConfig, TelemetryConfig
from router.config.identity import CertificateSubject, Claims, IdentityConfig, Jwks, JwtIssuer, RateLimit
from router.config.judgement import (
    ClassifierConfig,
    MinilmEncoder,
    OnnxEncoderSettings,
    PolicyConfig,
    SentenceTransformersEncoder,
    SignalsConfig,
)
from router.config.learning import LearningConfig
from router.config.listeners import ControlConfig, DecideConfig, GatewayConfig, GatewayLimits
from router.config.nodes import NodesConfig
from router.config.secrets import SecretsConfig
from router.config.tls import MutualTls, Tls
from router.settings import Address, Strict, Text

__all__ = [
    "AdapterBlock",
    "AuditConfig",
    "CertificateSubject",
    "CheckpointConfig",
    "Claims",
    "ClassifierConfig",
    "Config",
    "ControlConfig",
    "DecideConfig",
    "EnvoyConfig",
    "EventsConfig",
    "GatewayConfig",
    "GatewayLimits",
    "IdentityConfig",
    "Jwks",
    "JwtIssuer",
    "LearningConfig",
    "MinilmEncoder",
    "MutualTls",
    "NodesConfig",
    "OnAbstain",
    "OnnxEncoderSettings",
    "PolicyConfig",
    "RateLimit",
    "ReviewConfig",
    "SentenceTransformersEncoder",
    "SignalsConfig",
    "TelemetryConfig",
    "Tls",
]


class Config(Strict):
    """The configuration file. Paths are relative to it."""

    version: Literal[1] = Field(description="Version of this format.")
    catalog: Text = Field(default="catalog.yaml", description="The catalog of intents, routes and destinations.")
    shared_state: AdapterBlock | None = Field(
        default=None, description="A server on which nodes keep limits and quotas together; without it each node has its own."
    )
    state: Text = Field(default="state", description="Directory for the ledger, keys and caches. Nothing in it belongs in version control.")
    gateway: GatewayConfig = Field(default=GatewayConfig(), description="The reverse proxy.")
    decide: DecideConfig | None = Field(default=DecideConfig(), description="The decide API; `null` switches it off.")
    envoy: EnvoyConfig | None = Field(default=None, description="The door for Envoy. Needs `pip install 'lockgate[envoy]'`.")
    events: EventsConfig | None = Field(default=None, description="Events from senders over HTTP and from brokers. Off unless this is set.")
    control: ControlConfig = Field(default=ControlConfig(), description="The control API.")
    identity: IdentityConfig = Field(default=IdentityConfig(), description="Who may call.")
    limits: tuple[RateLimit, ...] = Field(default=(), description="Rate limits at admission.")
    signals: SignalsConfig = Field(default=SignalsConfig(), description="What is looked for in requests.")
    classifier: ClassifierConfig = Field(default=ClassifierConfig(), description="How texts become intents.")
    policy: PolicyConfig = Field(default=PolicyConfig(), description="Which policy decides.")
    audit: AuditConfig = Field(default=AuditConfig(), description="The ledger.")
    review: ReviewConfig = Field(default=ReviewConfig(), description="Held requests.")
    learning: LearningConfig | None = Field(default=None, description="Learning from corrections. Off unless this is set.")
    nodes: NodesConfig | None = Field(default=None, description="Several nodes that share more than the ledger. Off unless this is set.")
    secrets: SecretsConfig = Field(default=SecretsConfig(), description="Where secrets are kept that are read from a vault.")
    telemetry: TelemetryConfig = Field(default=TelemetryConfig(), description="Traces, metrics and logs.")
    workers: int = Field(default=1, ge=1, le=256, description="Worker processes; one for each core is sensible.")

    @property
    def doors(self) -> dict[str, Address]:
        """The HTTP doors that are open, and where."""
        listening = {
            "gateway": self.gateway.listen,
            "decide": self.decide.listen if self.decide is not None else None,
            "events": self.events.listen if self.events is not None else None,
        }
        return {name: address for name, address in listening.items() if address is not None}

    @property
    def beside(self) -> dict[str, Address]:
        """Where the control process serves, by setting."""
        tiles = self.audit.tiles
        listening = {
            "control.listen": self.control.listen,
            "control.probes": self.control.probes,
            "audit.tiles.listen": tiles.listen if tiles is not None else None,
        }
        return {setting: address for setting, address in listening.items() if address is not None}

    @property
    def listeners_tls(self) -> dict[str, MutualTls]:
        """By the listener's name, without those that serve unencrypted."""
        doors = {
            "gateway": self.gateway.tls if self.gateway.listen is not None else None,
            "decide": self.decide.tls if self.decide is not None else None,
            "envoy": self.envoy.tls if self.envoy is not None else None,
            "events": self.events.tls if self.events is not None and self.events.listen is not None else None,
            "control": self.control.tls,
            "tiles": self.audit.tiles.tls if self.audit.tiles is not None else None,
        }
        return {name: settings for name, settings in doors.items() if settings is not None}

    @model_validator(mode="before")
    @classmethod
    def _follow_state(cls, value: Any) -> Any:
        """Keys and checkpoints are in the state directory, wherever that is, unless they say otherwise."""
        state = value.get("state", "state") if isinstance(value, dict) else "state"
        audit = value.get("audit", {}) if isinstance(value, dict) else None
        if not isinstance(state, str) or not isinstance(audit, dict):
            return value
        checkpoint = audit.get("checkpoint", {})
        if isinstance(checkpoint, dict):
            checkpoint = {"directory": f"{state}/checkpoints", **checkpoint}
        keys = {name: {"file": f"{state}/keys/{file}"} for name, file in (("key", "ledger.key"), ("sealing_key", "sealing.key"))}
        return {**value, "audit": {**keys, **audit, "checkpoint": checkpoint}}
