"""Where bundles are that are not on plain HTTP: an OCI registry, an S3 bucket."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from router.config.opa import server_url
from router.secret import Secret
from router.settings import Strict, Text

OCI, S3 = "oci://", "s3://"
# As the distribution specification has them; a registry is written with its host.
REFERENCE = re.compile(
    r"oci://(?P<registry>[A-Za-z0-9][A-Za-z0-9.-]*(?::\d{1,5})?)"
    r"/(?P<repository>[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127})|@(?P<digest>sha256:[0-9a-f]{64}))"
)
OBJECT = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[^?#]{1,1024})")
REGION = re.compile(r"[a-z0-9-]{1,64}")


def oci_reference(value: str) -> tuple[str, str, str]:
    """Registry, repository, and tag or digest."""
    found = REFERENCE.fullmatch(value)
    if found is None:
        raise ValueError("must be oci://REGISTRY/REPOSITORY:TAG, or end with @sha256:DIGEST")
    return found["registry"], found["repository"], found["tag"] or found["digest"]


def s3_object(value: str) -> tuple[str, str]:
    """Bucket and key."""
    found = OBJECT.fullmatch(value)
    if found is None or any(part in ("", ".", "..") for part in found["key"].split("/")):
        raise ValueError("must be s3://BUCKET/KEY")
    return found["bucket"], found["key"]


def region_name(value: str) -> str:
    if not REGION.fullmatch(value):
        raise ValueError("must be a region's name, such as eu-central-1")
    return value


def web_url(value: str) -> str:
    if not value.startswith(("https://", "http://")):
        raise ValueError("must be an https:// URL, or an http:// URL of this machine")
    return server_url(value)


class RegistryLogin(Strict):
    """Name and password for an OCI registry, or for the server of tokens that it names. Its own token is `policy.bundle.token`."""

    user: Text = Field(description="Name that the registry knows.")
    password: Secret = Field(description="Its password or access token, `${NAME}` or `{file: PATH}`.")


class S3Settings(Strict):
    """How to ask for an object in a bucket. Without keys here, those of the environment are used (`AWS_ACCESS_KEY_ID` and so on)."""

    region: Annotated[str, AfterValidator(region_name)] = Field(default="us-east-1", description="Region, which the signature names.")
    endpoint: Annotated[str, AfterValidator(web_url)] | None = Field(
        default=None, description="URL of another server than Amazon's, such as MinIO; the bucket is then the path's first part."
    )
    access_key: Secret | None = Field(
        default=None, description="Access key id, `${NAME}` or `{file: PATH}`; files are read at each question."
    )
    secret_key: Secret | None = Field(default=None, description="Secret access key.")
    session_token: Secret | None = Field(default=None, description="Session token, with keys that end.")

    @model_validator(mode="after")
    def _keys(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("needs 'access_key' and 'secret_key' together")
        if self.session_token is not None and self.access_key is None:
            raise ValueError("has a 'session_token' without 'access_key'")
        return self
