"""What the two kinds of processes load at a start: modules are two thirds of the time that it takes, and much of their memory."""

import subprocess
import sys

import pytest

CONTROL = ("router.cli.serve", "router.processes.control", "router.processes.serving")
WORKER = ("router.processes.worker",)


@pytest.mark.parametrize(
    ("process", "others"),
    [
        pytest.param(CONTROL, {"onnxruntime", "router.wiring.runtime", "router.processes.worker"}, id="control does not serve requests"),
        pytest.param(CONTROL, {"aiohttp"}, id="control asks nobody, by default"),
        pytest.param(CONTROL, {"opentelemetry.sdk", "opentelemetry.exporter"}, id="control sends no telemetry, by default"),
        pytest.param(WORKER, {"opentelemetry.sdk", "opentelemetry.exporter"}, id="workers send no telemetry, by default"),
        pytest.param(("router.cli.serve",), {"pydantic", "router.processes.control"}, id="a start begins its workers before it loads"),
        pytest.param(WORKER, {"router.wiring.reviews", "router.wiring.fates", "router.processes.control"}, id="workers keep no records"),
        pytest.param(WORKER, {"fastapi", "grpc", "zttp"}, id="workers serve no console, and Envoy only where it is configured"),
    ],
)
def test_nothing_is_loaded_for_the_other_process(process: tuple[str, ...], others: set[str]) -> None:
    """One import at the top of a shared module is enough to bring all of it."""
    code = f"import sys, {', '.join(process)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(process) <= set(loaded)
    assert not others & set(loaded)
