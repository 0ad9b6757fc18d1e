"""From a folder of policies to a bundle. Tests are run by whoever calls; what they found goes into the manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from joserfc.jwk import Key

from router.bundle.archive import read_folder
from router.bundle.content import OURS, REGO, TESTS, Attestation, content_digest, merged_data, package_path
from router.bundle.documents import DATA, JSON_DATA, MANIFEST, SIGNATURES
from router.bundle.signature import sign
from router.errors import BundleError
from router.library import BESIDE, is_shipped
from router.library_joining import FOLDER as LIBRARY


@dataclass(frozen=True, slots=True)
class Sources:
    """What a folder has to put into a bundle. `texts` are its policies and tests."""

    texts: Mapping[str, bytes]
    data: Mapping[str, Any]

    @property
    def policies(self) -> dict[str, str]:
        return {name: text.decode() for name, text in self.texts.items() if not name.endswith(TESTS)}

    @property
    def tests(self) -> dict[str, str]:
        return {name: text.decode() for name, text in self.texts.items() if name.endswith(TESTS)}

    @property
    def digest(self) -> str:
        return content_digest(self.policies, self.data)


@dataclass(frozen=True, slots=True)
class Signing:
    key: Key
    algorithm: str
    key_id: str
    scope: str = ""


def collect(folder: Path) -> Sources:
    """Rego and data; other files are no part of a bundle, nor are the library and Lockgate's own policies beside those that ship. Raises
    BundleError."""
    files = read_folder(folder, str(folder))
    if is_shipped(folder / LIBRARY):
        files = {name: content for name, content in files.items() if name.partition("/")[0] not in BESIDE}
    texts = {name: content.removeprefix(b"\xef\xbb\xbf") for name, content in files.items() if name.endswith(REGO)}
    for name, content in texts.items():
        try:
            package_path(name, content.decode())
        except UnicodeDecodeError:
            raise BundleError(f"The file '{name}' is not UTF-8 text.") from None
    if not any(not name.endswith(TESTS) for name in texts):
        raise BundleError(f"The folder {folder} has no policy in it.")
    return Sources(texts, merged_data({name: content for name, content in files.items() if name.rpartition("/")[2] in DATA}))


def assemble(
    sources: Sources, revision: str, sequence: int, roots: tuple[str, ...], attestation: Attestation | None, signing: Signing | None
) -> dict[str, bytes]:
    """The bundle's files."""
    own: dict[str, Any] = {"digest": sources.digest, "sequence": sequence}
    if attestation is not None:
        own["tests"] = attestation.document()
    manifest = {"revision": revision, "roots": list(roots), "rego_version": 1, "metadata": {OURS: own}}
    files = {
        **sources.texts,
        JSON_DATA: orjson.dumps(sources.data, option=orjson.OPT_SORT_KEYS),
        MANIFEST: json.dumps(manifest, indent=1).encode(),
    }
    if signing is not None:
        files[SIGNATURES] = sign(files, signing.key, signing.algorithm, signing.key_id, signing.scope)
    return files
