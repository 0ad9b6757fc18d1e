"""What a bundle says, once its signature, its manifest and its tests' attestation hold."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from router.bundle.documents import DATA, MANIFEST, SIGNATURES, read_document
from router.bundle.signature import Signed, VerificationKey, verify
from router.bundle.tested import EMBEDDED, OPA
from router.errors import BundleError

REGO, TESTS = ".rego", "_test.rego"
OURS = "lockgate"  # the place of our own metadata in the manifest
MANIFEST_WRONG, UNTESTED = "bundle_manifest_wrong", "bundle_untested"
# What the configuration's word for attestations accepts.
ATTESTED = {"optional": frozenset[str](), "embedded": frozenset({EMBEDDED, OPA}), "required": frozenset({OPA})}
UNUSABLE = {"patch.json": "is a delta bundle", "policy.wasm": "has compiled policies", "plan.json": "has compiled policies"}
PACKAGE = re.compile(r"package\s+(?P<path>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[\"[^\"\\]*\"\])*)")
PART = re.compile(r"\[\"([^\"]*)\"\]|([^.\[\]]+)")
REVISION = re.compile(r"[\x21-\x7e]{1,128}")
MAX_SEQUENCE = (1 << 53) - 1


@dataclass(frozen=True, slots=True)
class Attestation:
    """That tests passed: how many, in which engine, over which files (`digest`), when. `opa` means that they passed in the embedded engine
    as well; `version` is OPA's and `by` how it was reached, both empty for `embedded`."""

    engine: str
    passed: int
    digest: str
    at: str
    version: str = ""
    by: str = ""

    def document(self) -> dict[str, Any]:
        opa = {"version": self.version, "by": self.by} if self.engine == OPA else {}
        return {"engine": self.engine, **opa, "passed": self.passed, "digest": self.digest, "at": self.at}


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom bundles are taken from. Without `keys` signatures are not asked for; `attested` names the engines in one of which
    tests must have passed, none where that is not asked for."""

    keys: Mapping[str, VerificationKey] = field(default_factory=dict)
    attested: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Bundle:
    """`digest` covers the policies and data that decide, and stands in every verdict; not the manifest, nor tests. `policies` and `tests`
    are Rego texts by their path in the bundle."""

    revision: str
    digest: str
    roots: tuple[str, ...]
    sequence: int | None
    policies: Mapping[str, str]
    tests: Mapping[str, str]
    data: Mapping[str, Any]
    attestation: Attestation | None
    signed: Signed | None

    @property
    def signer(self) -> str | None:
        return self.signed.key_id if self.signed is not None else None

    @property
    def has_settings(self) -> bool:
        """Whether `lockgate.config` is the bundle's own."""
        return any(contains(root, "lockgate/config") or contains("lockgate/config", root) for root in self.roots)

    def described(self) -> dict[str, Any]:
        """For records and people."""
        return {"revision": self.revision, "sequence": self.sequence, "digest": self.digest, "signer": self.signer}


def open_bundle(files: Mapping[str, bytes], trust: Trust) -> Bundle:
    """Raises BundleError, whose code says why: `bundle_unsigned`, `bundle_signature_wrong`, `bundle_manifest_wrong`, `bundle_untested`,
    `bundle_unreadable`."""
    if not trust.keys and SIGNATURES in files:
        raise BundleError("The bundle is signed, and no key is configured to verify it with.", "bundle_signature_wrong")
    signed = verify(files, trust.keys) if trust.keys else None
    bundle = read_bundle(files, signed)
    if trust.attested:
        _check_attestation(bundle, trust.attested)
    return bundle


def read_bundle(files: Mapping[str, bytes], signed: Signed | None = None) -> Bundle:
    """As `open_bundle`, for who asks nothing of its signature."""
    for name in files:
        if (kind := UNUSABLE.get(name.rpartition("/")[2])) is not None:
            raise BundleError(f"The bundle {kind} ('{name}'), which cannot be used here.")
    texts = {name: _text(name, content) for name, content in files.items() if name.endswith(REGO)}
    policies = {name: text for name, text in texts.items() if not name.endswith(TESTS)}
    tests = {name: text for name, text in texts.items() if name.endswith(TESTS)}
    data = merged_data(files)
    manifest = _manifest(files)
    roots = _roots(manifest)
    _check_roots(roots, texts, data)
    own = _own_metadata(manifest)
    digest = content_digest(policies, data)
    if own.get("digest", digest) != digest:
        raise BundleError("The bundle's manifest has the digest of other policies.", MANIFEST_WRONG)
    revision = manifest.get("revision") or digest[:12]
    if not isinstance(revision, str) or not REVISION.fullmatch(revision):
        raise BundleError("The bundle's revision must be a word of at most 128 characters.", MANIFEST_WRONG)
    return Bundle(revision, digest, roots, _sequence(own), policies, tests, data, _attestation(own), signed)


def content_digest(policies: Mapping[str, str], data: Mapping[str, Any]) -> str:
    return text_digest(policies, orjson.dumps(data, option=orjson.OPT_SORT_KEYS).decode())


def text_digest(policies: Mapping[str, str], written: str) -> str:
    """SHA-256 over the data, as JSON with sorted keys, and the policies' paths and texts, each preceded by its length, so that nothing can
    move between them. The same for every engine that holds the same."""
    total = hashlib.sha256()
    for part in (written, *(part for path in sorted(policies) for part in (path, policies[path]))):
        encoded = part.encode("utf-8", "surrogateescape")
        total.update(len(encoded).to_bytes(8, "big"))
        total.update(encoded)
    return total.hexdigest()


def attested_digest(policies: Mapping[str, str], tests: Mapping[str, str], data: Mapping[str, Any]) -> str:
    """What an attestation is about."""
    return content_digest({**policies, **tests}, data)


def merged_data(files: Mapping[str, bytes]) -> dict[str, Any]:
    """All documents as one, each at the place of its folder, as OPA has it."""
    data: dict[str, Any] = {}
    for name in sorted(files):
        folder, _, base = name.rpartition("/")
        if base in DATA:
            document = read_document(name, files[name])
            _merge(data, _placed(folder, {} if document is None else document, name), name)
    return data


def contains(root: str, path: str) -> bool:
    """Whether a manifest's root has this path, both with slashes."""
    return root == "" or path == root or path.startswith(f"{root}/")


def _placed(folder: str, value: Any, name: str) -> dict[str, Any]:
    for part in reversed(folder.split("/") if folder else []):
        value = {part: value}
    if not isinstance(value, dict):
        raise BundleError(f"The file '{name}' must be a mapping of keys to values.")
    return value


def _merge(into: dict[str, Any], more: Mapping[str, Any], name: str) -> None:
    for key, value in more.items():
        if key not in into:
            into[key] = value
        elif isinstance(into[key], dict) and isinstance(value, dict):
            _merge(into[key], value, name)
        else:
            raise BundleError(f"The file '{name}' has a value where another file has one: '{key[:80]}'.")


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BundleError(f"The file '{name}' is not UTF-8 text.") from None


def _manifest(files: Mapping[str, bytes]) -> dict[str, Any]:
    manifest = read_document(MANIFEST, files[MANIFEST]) if MANIFEST in files else {}
    if not isinstance(manifest, dict):
        raise BundleError("The bundle's '.manifest' must be an object.", MANIFEST_WRONG)
    versions = manifest.get("file_rego_versions") or {}
    written = {manifest.get("rego_version", 1), *(versions.values() if isinstance(versions, dict) else [0])}
    if written != {1}:
        raise BundleError("The bundle has policies in another version of Rego than 1.", MANIFEST_WRONG)
    return manifest


def _roots(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    raw = manifest.get("roots", [""])
    if not isinstance(raw, list) or not all(isinstance(root, str) for root in raw):
        raise BundleError("The roots in the bundle's manifest must be a list of paths.", MANIFEST_WRONG)
    roots = tuple(root.strip("/") for root in raw)
    for place, root in enumerate(roots):
        for other in roots[place + 1 :]:
            if contains(root, other) or contains(other, root):
                raise BundleError(f"The roots '{root}' and '{other}' in the bundle's manifest overlap.", MANIFEST_WRONG)
    return roots


def _check_roots(roots: tuple[str, ...], texts: Mapping[str, str], data: Mapping[str, Any]) -> None:
    for name in sorted(texts):
        package = package_path(name, texts[name])
        if not any(contains(root, package) for root in roots):
            raise BundleError(f"The package of '{name}' lies outside of the manifest's roots.", MANIFEST_WRONG)
    for path in _outermost(data, "", roots):
        raise BundleError(f"The data at '{path[:80]}' lies outside of the manifest's roots.", MANIFEST_WRONG)


def _outermost(value: Mapping[str, Any], above: str, roots: tuple[str, ...]) -> Iterable[str]:
    for key, inner in value.items():
        path = f"{above}/{key}" if above else key
        if any(contains(root, path) for root in roots):
            continue
        if isinstance(inner, dict) and any(contains(path, root) for root in roots):
            yield from _outermost(inner, path, roots)
        else:
            yield path


def package_path(name: str, text: str) -> str:
    """The package that a Rego text begins with, with slashes."""
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = PACKAGE.match(line.strip())
        if found is not None:
            return "/".join(quoted or plain for quoted, plain in PART.findall(found["path"]))
        break
    raise BundleError(f"The file '{name}' does not begin with its package.")


def _own_metadata(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = manifest.get("metadata") or {}
    own = metadata.get(OURS, {}) if isinstance(metadata, dict) else None
    if not isinstance(own, dict):
        raise BundleError(f"The metadata in the bundle's manifest, and its '{OURS}', must be objects.", MANIFEST_WRONG)
    return own


def _sequence(own: Mapping[str, Any]) -> int | None:
    value = own.get("sequence")
    if value is not None and (type(value) is not int or not 0 < value <= MAX_SEQUENCE):
        raise BundleError("The sequence in the bundle's manifest must be a whole number from 1 on.", MANIFEST_WRONG)
    return value


def _attestation(own: Mapping[str, Any]) -> Attestation | None:
    value = own.get("tests")
    if value is None:
        return None
    given = value if isinstance(value, dict) else {}
    engine, passed, digest, at = (given.get(name) for name in ("engine", "passed", "digest", "at"))
    if not isinstance(engine, str) or type(passed) is not int or not isinstance(digest, str) or not isinstance(at, str):
        raise BundleError("The attestation of tests in the bundle's manifest must have engine, passed, digest and at.", MANIFEST_WRONG)
    version, by = given.get("version", ""), given.get("by", "")
    if not isinstance(version, str) or not isinstance(by, str):
        raise BundleError("The attestation of tests in the bundle's manifest must have version and by as texts.", MANIFEST_WRONG)
    return Attestation(engine, passed, digest, at, version, by)


def _check_attestation(bundle: Bundle, engines: frozenset[str]) -> None:
    found = bundle.attestation
    if found is None or found.passed < 1:
        raise BundleError("The bundle has no attestation that its tests passed; `lockgate policy build --sign` makes one.", UNTESTED)
    if found.digest != attested_digest(bundle.policies, bundle.tests, bundle.data):
        raise BundleError("The bundle's attestation is about tests of other policies.", UNTESTED)
    if found.engine not in engines:
        raise BundleError(
            f"The bundle's tests ran in the engine '{found.engine}' and not in OPA; build it where OPA is, or accept `attested: embedded`.",
            UNTESTED,
        )
