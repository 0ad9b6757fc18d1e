"""By which policies and data a workspace decides: a folder's with what it adopts, or a bundle's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from router.bundle.archive import unpack
from router.bundle.content import ATTESTED, Bundle, Trust, open_bundle
from router.bundle.signature import VerificationKey, verification_key
from router.config import PolicyConfig
from router.config.bundles import BundleConfig
from router.errors import BundleError, ConfigError
from router.faults import Document, Fault, Loc
from router.library import adopt
from router.library_joining import ADMITTING, JOINED
from router.library_settings import faults_of
from router.policy_data import data_places, held_files, merged, named_data
from router.policy_sources import bundle_files
from router.snapshot import Snapshot
from router.yaml_source import decode, read_yaml

EMBEDDED = "embedded"
OF_THE_FOLDER = frozenset((EMBEDDED, "isolated"))  # the engines that read the policies' folder


class Judging:
    """`faults` are what is wrong; `refused` is why a bundle is not used. `document` is the configuration's, which faults point into."""

    def __init__(self, snapshot: Snapshot, policy: PolicyConfig, document: Document) -> None:
        self._snapshot = snapshot
        self._policy = policy
        self._document = document
        self.faults: list[Fault] = []
        self.refused: BundleError | None = None
        self.bundle = self._bundle()
        self.policies, self.data = self._judging()

    def _judging(self) -> tuple[Mapping[str, str], Mapping[str, Any]]:
        """Policies and data. Data beside a bundle only where it leaves them to others."""
        if self._policy.bundle is None:
            policies = self._policies()
            return policies, self._data(policies)
        if self.bundle is None:
            return {}, {}
        if self.bundle.has_settings and self._policy.data is None:
            return self.bundle.policies, self.bundle.data
        if self.bundle.has_settings:
            sentence = "The bundle has the data itself; leave 'data' out, or build it with roots that do not hold lockgate/config."
            self.faults.append(self._document.fault(("policy", "data"), sentence))
        return self.bundle.policies, self._data(self.bundle.policies)

    def _bundle(self) -> Bundle | None:
        settings = self._policy.bundle
        if settings is None:
            return None
        try:
            return self._opened(settings)
        except BundleError as error:
            self.refused = error
            self.faults.append(self._document.fault(("policy", "bundle"), str(error)))
            return None

    def _opened(self, settings: BundleConfig) -> Bundle:
        found = bundle_files(self._snapshot.files, settings.source)
        if found is None:
            why = "nothing was downloaded from it yet; `lockgate serve` does" if settings.remote else "there is nothing"
            raise BundleError(f"There is no bundle at '{settings.source}': {why}.", "bundle_unavailable")
        files = unpack(found, "The bundle") if isinstance(found, bytes) else found
        bundle = open_bundle(files, Trust(self._bundle_keys(settings), ATTESTED[settings.attestation]))
        if bundle.has_settings and (faults := list(faults_of(bundle.policies, bundle.data, (), "data.json"))):
            raise BundleError(f"The bundle cannot be used with its data: {faults[0].sentence}", "bundle_policy_refused")
        return bundle

    def _bundle_keys(self, settings: BundleConfig) -> dict[str, VerificationKey]:
        keys: dict[str, VerificationKey] = {}
        for name, key in settings.keys.items():
            file = os.path.normpath(key.file)
            if file not in self._snapshot.files:
                raise BundleError(f"The file '{file}' with the key '{name}' does not exist.", "bundle_key_unusable")
            keys[name] = verification_key(self._snapshot.files[file], key.algorithm, key.scope, f"The file '{file}'")
        return keys

    def _policies(self) -> dict[str, str]:
        policies: dict[str, str] = {}
        for file, data in self._snapshot.files.items():
            if file.endswith(".rego"):
                policies[file], faults = decode(file, data)
                self.faults += faults
        if self._policy.library and policies.keys().isdisjoint((JOINED, ADMITTING)):
            self.faults += self._not_adopted(policies)
        compare = self._policy.compare
        engines = {self._policy.engine.adapter, *([compare.engine.adapter] if compare is not None else [])}
        if not policies and engines & OF_THE_FOLDER:
            loc: Loc = ("policy", "path")
            self.faults.append(
                self._document.fault(loc, f"The folder '{self._policy.path}' has no policy in it; without one nothing is allowed.")
            )
        return policies

    def _data(self, policies: Mapping[str, str]) -> Mapping[str, Any]:
        """As OPA would read it: nothing is filled in from the environment."""
        for place in map(os.path.normpath, named_data({"data": self._policy.data})):
            if not held_files(self._snapshot.files, place):
                self.faults.append(self._document.fault(("policy", "data"), f"The file '{place}' does not exist."))
        read = [read_yaml(file, self._snapshot.files[file], None) for file in self.data_files()]
        documents = [document for document, _ in read if document is not None]
        value, faults = merged(documents)
        place = data_places(self._policy.path, named_data({"data": self._policy.data}))[0]
        self.faults += [*(fault for _, found in read for fault in found), *faults, *faults_of(policies, value, documents, place)]
        return value

    def data_files(self) -> list[str]:
        """Each once, as the configuration names them."""
        places = data_places(self._policy.path, named_data({"data": self._policy.data}))
        return list(dict.fromkeys(file for place in places for file in held_files(self._snapshot.files, place)))

    def _not_adopted(self, policies: Mapping[str, str]) -> Iterator[Fault]:
        try:
            adopt(policies, self._policy.library)
        except ConfigError as error:
            yield from (self._document.fault(("policy", "library"), sentence) for sentence in error.faults)
