"""Which place a configuration means, and by which keys it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.bundle_http import BundleServer
from adapters.bundle_oci import OciBundle
from adapters.bundle_s3 import S3Keys, S3Object
from router.config.bundle_places import S3Settings
from router.config.bundles import BundleConfig
from router.errors import BundleError
from router.processes.bundle_places import make_place, s3_keys
from router.secret import Secret

ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "env", "AWS_SESSION_TOKEN": "session"}


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("https://bundles.example/b.tar.gz", BundleServer),
        ("oci://registry.example:5000/policies/lockgate:live", OciBundle),
        ("oci://registry.example/lockgate@sha256:" + "a" * 64, OciBundle),
        ("s3://bundles/team/lockgate.tar.gz", S3Object),
    ],
)
def test_the_address_says_the_kind(source: str, kind: type, tmp_path: Path) -> None:
    """And nothing is asked yet."""
    assert isinstance(make_place(BundleConfig(**{"from": source, "unsigned": True}), tmp_path, {}), kind)


@pytest.mark.parametrize(
    "source",
    [
        "oci://registry.example/lockgate",
        "oci://registry.example/Lockgate:v1",
        "oci://user@registry.example/lockgate:v1",
        "oci:///lockgate:v1",
        "oci://registry.example/a/../b:v1",
        "s3://bundles",
        "s3://bundles/",
        "s3://bundles/a/../b",
        "s3://bundles/a?versionId=1",
        "S3://bundles/a",
        "ftp://bundles.example/a",
    ],
)
def test_what_is_no_address_is_refused(source: str) -> None:
    """When the configuration is read, not when it is asked."""
    with pytest.raises(ValueError, match="must be"):
        BundleConfig(**{"from": source, "unsigned": True})


def test_keys_of_the_configuration_win_and_are_read_anew(tmp_path: Path) -> None:
    """Files may be exchanged while it runs."""
    settings = S3Settings(access_key=Secret(file="id"), secret_key=Secret(file="key"))
    (tmp_path / "id").write_text("AKIAFILE\n")
    for key in ("first", "second"):
        (tmp_path / "key").write_text(f"{key}\n")
        assert s3_keys(settings, tmp_path, ENVIRONMENT) == S3Keys("AKIAFILE", key, None)


def test_keys_of_the_environment_are_taken_where_there_are_no_others(tmp_path: Path) -> None:
    """With their session's token."""
    assert s3_keys(S3Settings(), tmp_path, ENVIRONMENT) == S3Keys("AKIAENV", "env", "session")


@pytest.mark.parametrize("environment", [{}, {"AWS_ACCESS_KEY_ID": "a"}, {**ENVIRONMENT, "AWS_SECRET_ACCESS_KEY": "a\nb"}])
def test_without_keys_nothing_is_asked(environment: dict[str, Any], tmp_path: Path) -> None:
    """Nor with one that cannot be sent."""
    with pytest.raises(BundleError) as caught:
        s3_keys(S3Settings(), tmp_path, environment)
    assert caught.value.code == "bundle_unavailable"
    assert "a\nb" not in str(caught.value)
