from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from router.config.bundle_places import OCI, S3, RegistryLogin, S3Settings, oci_reference, s3_object
from router.config.identity import secure_url
from router.secret import Secret
from router.settings import Bool, Name, Span, Strict, Text


class BundleKey(Strict):
    """One key whose signatures on bundles are accepted."""

    file: Text = Field(description="PEM public key, relative to the configuration file.")
    algorithm: Literal["ES256", "ES384", "RS256", "PS256", "EdDSA"] = Field(
        default="ES256", description="The only algorithm that is accepted with this key. An OPA server does not take `EdDSA`."
    )
    scope: str = Field(default="", max_length=256, description="What the signature must say that it is for; nothing where none is given.")


def path_or_url(value: str) -> str:
    if value.startswith(OCI):
        oci_reference(value)
        return value
    if value.startswith(S3):
        s3_object(value)
        return value
    return secure_url(value) if "://" in value else value


class BundleConfig(Strict):
    """Policies from a bundle instead of a folder of the workspace."""

    model_config = ConfigDict(validate_by_alias=True)

    source: Annotated[Text, AfterValidator(path_or_url)] = Field(
        alias="from",
        description="Where the bundle is: an archive or a folder, relative to the configuration file, or the URL of an archive: "
        "`https://`, `oci://REGISTRY/REPOSITORY:TAG` or `s3://BUCKET/KEY`.",
    )
    keys: Mapping[Name, BundleKey] = Field(
        default_factory=dict, description="Keys by name, with one of which a bundle must be signed. Needed unless `unsigned` is set."
    )
    attested: Literal["optional", "embedded", "required"] = Field(
        default="required",
        description="`required` refuses bundles whose signature does not say that their tests passed in OPA; `embedded` also takes those "
        "whose tests ran in the embedded engine only, `optional` those whose signature says nothing of tests.",
    )
    unsigned: Bool = Field(
        default=False,
        description="Take a bundle that nobody signed, and that says nothing of its tests: whoever can write where it lies decides about "
        "everything. For trying things out.",
    )
    max_age: Span | None = Field(
        default=None,
        description="How long policies may decide after the source last confirmed that they are its newest; then everything is denied "
        "(`policy_stale`). Without it the last good ones go on for ever.",
    )
    poll: Span = Field(default=60.0, description="Longest pause between two questions to a server; the longest after failures, too.")
    wait: Span | None = Field(
        default=30.0, description="How long a server may wait with its answer for something new, where it can (OPA's long polling)."
    )
    timeout: Span = Field(default=10.0, description="Longest time for an answer, beside `wait`.")
    token: Secret | None = Field(default=None, description="Bearer token for the server, `${NAME}` or `{file: PATH}`.")
    ca: Text | None = Field(default=None, description="PEM file of the authorities that vouch for the server; the system's otherwise.")
    registry: RegistryLogin | None = Field(default=None, description="Login for an OCI registry; without it, what is public is read.")
    s3: S3Settings | None = Field(default=None, description="How a bucket is asked.")

    @property
    def attestation(self) -> str:
        """What is asked of one: as `attested`, or nothing where nobody signs."""
        return "optional" if self.unsigned else self.attested

    @property
    def remote(self) -> bool:
        return "://" in self.source

    @model_validator(mode="after")
    def _of_its_place(self) -> Self:
        if self.registry is not None and not self.source.startswith(OCI):
            raise ValueError("has a login in 'registry' although 'from' is no oci:// reference")
        if self.s3 is not None and not self.source.startswith(S3):
            raise ValueError("has settings in 's3' although 'from' is no s3:// object")
        if self.token is not None and self.registry is not None:
            raise ValueError("has both 'token' and 'registry'; a registry takes one of them")
        if self.token is not None and self.source.startswith(S3):
            raise ValueError("has a 'token', which a bucket does not take; its keys are in 's3'")
        return self

    @model_validator(mode="after")
    def _confirmed_in_time(self) -> Self:
        between = max(self.poll, (self.wait or 0.0) + self.timeout)
        if self.remote and self.max_age is not None and self.max_age <= between:
            told = "make it longer than 'poll', and than 'wait' and 'timeout' together"
            raise ValueError(f"has a 'max_age' within which a server need not have answered; {told}")
        return self

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if self.unsigned and self.keys:
            raise ValueError("has 'keys' although it takes what is 'unsigned'")
        if self.unsigned and "attested" in self.model_fields_set and self.attested != "optional":
            raise ValueError(f"needs 'keys' where 'attested' is {self.attested}: an attestation that nobody signed says nothing")
        if not self.unsigned and not self.keys:
            raise ValueError(
                "needs 'keys': who can write where an unsigned bundle lies decides about everything ('unsigned: true' takes it)"
            )
        return self
