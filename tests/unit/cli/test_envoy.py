"""`lockgate envoy config`: what it writes, compares, and refuses with a sentence."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from router.cli.main import run
from router.config import EnvoyConfig
from router.errors import ConfigError
from router.processes import control

Out = pytest.CaptureFixture[str]


@pytest.fixture
def workspace(tmp_path: Path, capsys: Out) -> Path:
    assert run(["init", str(tmp_path / "demo")]) == 0
    capsys.readouterr()
    change(tmp_path / "demo", "envoy: {}")
    return tmp_path / "demo"


def change(folder: Path, block: str) -> None:
    file = folder / "lockgate.yaml"
    kept = [line for line in file.read_text().splitlines() if not line.startswith("envoy:")]
    file.write_text("\n".join([*kept, block]) + "\n")


def told(capsys: Out, *arguments: str) -> str:
    assert run(["envoy", "config", *arguments]) == 2
    return capsys.readouterr().err.strip()


def test_it_is_printed_with_where_it_comes_from(workspace: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    """YAML under a header with version, digest and Envoy's version."""
    monkeypatch.setattr("sys.argv", ["lockgate", "envoy", "config", "-c", str(workspace)])
    assert run(["envoy", "config", "-c", str(workspace)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Written by `lockgate envoy config ")
    assert "# tested with Envoy 1.40.0" in text
    assert len(text.splitlines()[1].removeprefix("# configuration ")) == 64
    assert yaml.safe_load(text).keys() == {"node", "admin", "static_resources", "overload_manager"}


def test_a_file_is_written_and_compared(workspace: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--check` is 0 for what would be written, also after a change that is nothing to Envoy, and 1 after one that is."""
    file = workspace / "envoy.yaml"
    monkeypatch.setattr("sys.argv", ["lockgate", "envoy", "config", "-c", str(workspace), "--output", str(file)])
    assert run(["envoy", "config", "-c", str(workspace), "--output", str(file)]) == 0
    monkeypatch.setattr("sys.argv", ["lockgate", "envoy", "config", "-c", str(workspace), f"--check={file}"])
    assert run(["envoy", "config", "-c", str(workspace), "--check", str(file)]) == 0
    with (workspace / "policies" / "data.yaml").open("a") as data:
        data.write("# only a comment\n")
    assert run(["envoy", "config", "-c", str(workspace), "--check", str(file)]) == 0
    change(workspace, "envoy: {deadline: 5s}")
    assert run(["envoy", "config", "-c", str(workspace), "--check", str(file)]) == 1
    assert "write it again with --output" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("block", "arguments", "sentence"),
    [
        ("", [], "The configuration has no 'envoy' block"),
        ("envoy: {listen: '0.0.0.0:50051', insecure: true}", [], "The door listens on 0.0.0.0:50051, which is nothing to connect to"),
        ("envoy: {}", ["--admin", "0.0.0.0:9901"], "Whoever reaches 0.0.0.0:9901 could stop Envoy"),
        ("envoy: {}", ["--admin", "here"], "'here' must be a host and a port"),
        ("envoy: {}", ["--tls-key", "key.pem"], "--tls-certificate and --tls-key belong together."),
        ("envoy: {}", ["--ca", "ca.pem"], "'envoy.tls' is not set"),
        ("envoy: {tls: {certificate: c.pem, key: k.pem}}", [], "say with --ca which authorities Envoy is to trust"),
        (
            "envoy: {tls: {certificate: c.pem, key: k.pem, client_ca: d.pem, client_certificates: required}}",
            ["--ca", "a.pem"],
            "wants a certificate of Envoy",
        ),
        ("envoy: {}", ["--http2", "nowhere"], "The catalog has no destination 'nowhere'"),
        ("envoy: {}", ["--filter", "ext_authz", "--bodies", "streamed"], "leave out --bodies or --filter"),
        ("envoy: {}", ["--format", "istio"], "Say with --lockgate once where the door is in the cluster"),
        ("envoy: {}", ["--format", "envoy-gateway", "--filter", "ext_authz"], "For Envoy Gateway only --filter ext_proc"),
    ],
)
def test_what_cannot_work_is_told(workspace: Path, capsys: Out, block: str, arguments: list[str], sentence: str) -> None:
    """With one sentence, and nothing is written."""
    change(workspace, block)
    assert sentence in told(capsys, "-c", str(workspace), *arguments)


def test_what_is_left_out_is_said(workspace: Path, capsys: Out) -> None:
    """CORS is for Envoy's own filter, and the file says so."""
    assert run(["envoy", "config", "-c", str(workspace)]) == 0
    assert "CORS" not in capsys.readouterr().out
    file = workspace / "lockgate.yaml"
    file.write_text(file.read_text().replace("gateway:\n", "gateway:\n  cors: {origins: ['https://app.example']}\n", 1))
    assert run(["envoy", "config", "-c", str(workspace)]) == 0
    assert "# What the workspace says of CORS is not in here" in capsys.readouterr().out


def test_kubernetes_gets_names_and_numbers_that_it_takes(workspace: Path, capsys: Out) -> None:
    """No fractions of seconds, and for every route one of the Gateway's."""
    arguments = ["--format", "envoy-gateway", "--lockgate", "lockgate.lockgate.svc.cluster.local:50051"]
    assert run(["envoy", "config", "-c", str(workspace), *arguments]) == 0
    resources = list(yaml.safe_load_all(capsys.readouterr().out))
    policy = next(each for each in resources if each["kind"] == "EnvoyExtensionPolicy")
    assert policy["spec"]["extProc"][0]["messageTimeout"] == "2500ms"
    assert policy["spec"]["extProc"][0]["failOpen"] is False
    kinds = [each["kind"] for each in resources]
    assert kinds.count("HTTPRoute") == kinds.count("BackendTrafficPolicy") + 1


def test_calls_on_a_connection_to_zttp_are_bounded(workspace: Path, capsys: Out) -> None:
    """And nothing else is written otherwise."""
    texts = []
    for server in ("grpc", "zttp"):
        change(workspace, f"envoy: {{server: {server}}}")
        assert run(["envoy", "config", "-c", str(workspace)]) == 0
        texts.append(yaml.safe_load(capsys.readouterr().out)["static_resources"])
    (door,) = (each for each in texts[1]["clusters"] if each["name"] == "lockgate")
    (options,) = door["typed_extension_protocol_options"].values()
    assert options["explicit_http_config"]["http2_protocol_options"].pop("max_concurrent_streams") == 100
    assert texts[0] == texts[1]


def test_envoy_gateway_hears_of_that_bound_too(workspace: Path, capsys: Out) -> None:
    """In its own words."""
    found = []
    for server in ("grpc", "zttp"):
        change(workspace, f"envoy: {{server: {server}}}")
        assert run(["envoy", "config", "-c", str(workspace), "--format", "envoy-gateway", "--lockgate", "door.svc:50051"]) == 0
        policy = next(each for each in yaml.safe_load_all(capsys.readouterr().out) if each["kind"] == "EnvoyExtensionPolicy")
        found.append(policy["spec"]["extProc"][0]["backendSettings"])
    assert found[1].pop("http2") == {"maxConcurrentStreams": 100}
    assert found[0] == found[1]


@pytest.mark.parametrize("server", ["grpc", "zttp"])
def test_what_grpc_cannot_do_is_said(server: str) -> None:
    """TLS 1.3 alone; the other speaks it. Neither makes anything of certificates that are optional."""
    tls = {"certificate": "a.pem", "key": "a.key", "client_ca": "ca.pem", "client_certificates": "required"}
    with pytest.raises(ValidationError, match="that nothing is made of"):
        EnvoyConfig.model_validate({"server": server, "tls": tls | {"client_certificates": "optional"}})
    strict = {"server": server, "tls": tls | {"minimum_version": "1.3"}}
    if server == "zttp":
        assert EnvoyConfig.model_validate(strict).tls is not None
        return
    with pytest.raises(ValidationError, match="it speaks TLS"):
        EnvoyConfig.model_validate(strict)


@pytest.mark.parametrize(
    ("server", "module", "extra"), [("grpc", "grpc", "envoy"), ("grpc", "grpc_health", "envoy"), ("zttp", "zttp", "envoy-zttp")]
)
def test_what_is_not_installed_is_said(server: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a port is taken, and only of what is configured."""
    monkeypatch.setattr(control, "find_spec", lambda name: None if name == module else find_spec(name))
    with pytest.raises(ConfigError, match=rf"more packages: pip install 'lockgate\[{extra}\]'\.$"):
        control._for_envoy(EnvoyConfig.model_validate({"server": server}), 1)
