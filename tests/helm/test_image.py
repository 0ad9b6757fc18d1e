"""What the Containerfile says, read as a linter would: nothing floats, nothing is built from source, nobody is root, no shell is needed."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch

import pytest

from model.wheel import WHEEL_VERSION, wheel_name
from tests.helm.rendering import ROOT, manifests, one

TEXT = re.sub(r"\\\n\s*", "", (ROOT / "Containerfile").read_text(encoding="utf-8"))
LINES = [line.split(None, 1) for line in TEXT.splitlines() if line.strip() and not line.startswith("#")]
EXTRAS = ("postgres", "envoy", "redis")


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = [[]]
    for word, rest in LINES:
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def told(stage: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for each, rest in stage if each == word]


def names(lock: str) -> dict[str, str]:
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    return {
        name.lower().replace("_", "-"): version for name, version in re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^ ;\\]+)", text, re.M)
    }


def test_bases_are_arguments_with_a_tag() -> None:
    """Whoever builds can pin them by digest; none is whatever is newest."""
    before, build, last = stages()
    defaults = dict(each.split("=", 1) for each in told(before, "ARG") if "=" in each)
    assert set(defaults) == {"BUILD_BASE"}  # what runs comes from whom they trust
    assert [told(stage, "FROM")[0].split()[0] for stage in (build, last)] == ["${BUILD_BASE}", "${RUN_BASE}"]
    for base in defaults.values():
        assert re.search(r":[A-Za-z0-9][\w.-]*$", base)
        assert not base.endswith(":latest")


def test_packages_come_by_their_hashes() -> None:
    """Every `pip install` is of files that a lock has hashes of, or of the one wheel that was built before; none is built here."""
    _, build, _ = stages()
    installs = [line for line in told(build, "RUN") if "pip install" in line]
    assert len(installs) == 3
    for line in installs:
        assert "--require-hashes" in line or "--no-deps --no-index" in line
        assert "--only-binary :all:" in line or line.endswith(".whl")
    for lock in ("image.lock", "installer.lock"):
        text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
        named = re.findall(r"^[A-Za-z0-9]", text, re.M)
        assert named
        assert len(named) == len(re.findall(r"^[A-Za-z0-9][^\n]*\\\n    --hash=sha256:", text, re.M))


def test_the_image_has_what_is_tested() -> None:
    """The lock has every package of the base and of the extras that the chart offers, in the versions that the tests run with."""
    image, tested = names("image.lock"), names("dev.lock")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(each for extra in EXTRAS for each in project["optional-dependencies"][extra])]
    for each in wanted:
        name = re.split(r"[\[<>=~ ;]", each, maxsplit=1)[0].lower().replace("_", "-")
        assert name in image
    assert {name: version for name, version in image.items() if tested.get(name, version) != version} == {}


def test_the_wheel_is_the_one_that_make_model_builds() -> None:
    """A new version of the encoder's wheel is named here as well."""
    assert wheel_name(WHEEL_VERSION) in TEXT


def test_the_last_stage_runs_nothing_and_is_nobody() -> None:
    """No RUN, so that no shell is needed; a numeric user, so that Kubernetes can tell that it is not root, and the chart's."""
    _, _, last = stages()
    assert told(last, "RUN") == []
    assert told(last, "ADD") == []
    (user,) = told(last, "USER")
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", user)
    security = one(manifests(), "StatefulSet")["spec"]["template"]["spec"]["securityContext"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}"
    assert all(entry.startswith("[") for entry in (*told(last, "ENTRYPOINT"), *told(last, "CMD")))


def test_ports_are_the_charts() -> None:
    """What the image says that it serves."""
    _, _, last = stages()
    values = one(manifests({"envoy": {"enabled": True}, "tls": {"insecure": True}, "decide": {"enabled": True}}), "StatefulSet")
    (container,) = values["spec"]["template"]["spec"]["containers"]
    assert sorted(int(port) for port in told(last, "EXPOSE")[0].split()) == sorted(each["containerPort"] for each in container["ports"])


@pytest.mark.parametrize("source", [each for word, rest in LINES if word == "COPY" and "--from" not in rest for each in rest.split()[:-1]])
def test_what_is_copied_is_there_and_let_in(source: str) -> None:
    """`.containerignore` refuses everything but what is copied."""
    path = source.replace("${WORKSPACE}", "image/starter").rstrip("/")
    let_in = [line[1:] for line in (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")]
    assert any(fnmatch(path, pattern) for pattern in let_in)
    assert (ROOT / path).exists() or path.startswith("dist/")


def test_nothing_secret_is_let_in() -> None:
    """Neither the history nor a state with keys is part of what is sent to a builder."""
    lines = (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "*"
    assert "**/state" in lines
    assert not any(".git" in line or "key" in line for line in lines)


def test_chart_image_and_package_have_one_version() -> None:
    """What `make image` tags is what the chart takes where nothing else is said."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    chart = (ROOT / "helm" / "Chart.yaml").read_text(encoding="utf-8")
    assert f'appVersion: "{project["version"]}"' in chart
    (container,) = one(manifests(), "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(f":{project['version']}")
