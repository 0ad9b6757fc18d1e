"""The parts of a worker, built in this process as a worker builds them, for what is measured one by one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from adapters.encoder_tier import EncoderTier
from adapters.memory_ledger import MemoryLedger
from embeddings.model import IntentModel
from embeddings.onnx_encoder import OnnxEncoder
from router.doors.runtime import Runtime
from router.system import SystemClock, SystemRandom, UuidV7
from router.telemetry.setup import Telemetry, start_telemetry
from router.wiring.encoder import ensure_model, load_model
from router.wiring.runtime import Services, build
from router.workspace import Workspace, parse, read
from tests.bench.workspace import Workspace as Measured


@dataclass(frozen=True, slots=True)
class Parts:
    workspace: Workspace
    runtime: Runtime
    telemetry: Telemetry
    model: IntentModel
    encoder: OnnxEncoder
    tier: EncoderTier
    alone: EncoderTier
    services: Services


class OneKey:
    """Every subject's key, as it lies in a worker's memory after its first request."""

    async def key_for(self, subject: str) -> tuple[str, bytes]:
        return "k" * 16, b"\x01" * 32

    def forget(self, key_id: str) -> None:
        return None


class NoReviews:
    async def hold(self, held: object) -> None:
        return None


@contextlib.asynccontextmanager
async def parts(measured: Measured) -> AsyncIterator[Parts]:
    environment = {**os.environ, **measured.environment}
    workspace = parse(read(Path(measured.config), environment), environment)
    path = ensure_model(workspace)
    clock = SystemClock()
    ledger = MemoryLedger()
    await ledger.open()
    services = Services(ledger, OneKey(), NoReviews(), clock, UuidV7(), SystemRandom())
    telemetry = start_telemetry(None, "bench", lambda _: None)
    built = await build(workspace, str(path), services, telemetry)
    model = load_model(workspace, Path(str(path)))
    tier = EncoderTier(model, workspace.config.classifier.coverage)
    alone = EncoderTier(model, workspace.config.classifier.coverage, at_once=lambda text: True)
    encoder = model.encoder
    if not isinstance(encoder, OnnxEncoder):
        raise TypeError("the bench measures the ONNX encoder")
    try:
        yield Parts(workspace, built.runtime, telemetry, model, encoder, tier, alone, services)
    finally:
        tier.close()
        alone.close()
        await built.close()
        telemetry.close()
