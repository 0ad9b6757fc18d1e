"""From the bytes of a workspace to validated, frozen models; or to every fault in them at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from router.bundle.archive import unpack
from router.bundle.content import ATTESTED, Bundle, Trust, content_digest, open_bundle
from router.bundle.signature import VerificationKey, verification_key
from router.catalog import Catalog, Intent
from router.catalog_checks import Parts, check_names, check_reachable, check_references, check_rewrites, parts
from router.config import AdapterBlock, Config
from router.config.bundles import BundleConfig
from router.config.costs import Costs
from router.config.evidence import SqliteStoreSettings
from router.errors import BundleError, ConfigError
from router.faults import Document, Fault, Loc, suggestion
from router.library import JOINED, adopt
from router.library_settings import faults_of
from router.policy_data import data_places, held_files, merged, named_data
from router.registry import ADAPTERS, Registry
from router.settings import Address
from router.snapshot import DOWNLOADED, Snapshot, bundle_files, digest, policy_files, read, watched
from router.stages.llm_calibration import LlmCalibration
from router.stages.risk import DEFAULT_WEIGHTS
from router.stages.tuned import Tuned
from router.utterances import BACKGROUND, Utterance, beside, check_trainable, check_utterances, read_sources, sources_of
from router.validation import Model, validate
from router.yaml_source import decode, read_yaml

Read = TypeVar("Read")
EMBEDDED = "embedded"
OF_THE_FOLDER = frozenset((EMBEDDED, "isolated"))  # the engines that read the policies' folder

__all__ = ["Digests", "Snapshot", "Workspace", "parse", "policy_files", "read", "watched"]


@dataclass(frozen=True, slots=True)
class Digests:
    """`config` covers every file of the snapshot; `catalog` the catalog and its utterances; `policy` the Rego and its data."""

    config: str
    catalog: str
    policy: str


@dataclass(frozen=True, slots=True)
class Workspace:
    """`catalog` has all examples in place, those from files too. `policies` are Rego texts by path, `policy_data` what `data.yaml` beside
    them holds. `destinations`, `encoder`, `index`, `engine`, `recogniser`, `ledger_store` and `second_engine` are adapters' validated
    settings, each an instance of that adapter's own model. `bundle` is where the policies come from, unless that is a folder."""

    root: Path
    config: Config
    catalog: Catalog
    policies: Mapping[str, str]
    policy_data: Mapping[str, Any]
    destinations: Mapping[str, BaseModel]
    encoder: BaseModel
    index: BaseModel
    engine: BaseModel
    recogniser: BaseModel | None
    digests: Digests
    llm_calibration: LlmCalibration | None = None
    tuned: Tuned | None = None
    ledger_store: BaseModel = field(default_factory=SqliteStoreSettings)
    second_engine: BaseModel | None = None
    bundle: Bundle | None = None

    def path(self, relative: str) -> Path:
        """A path as the configuration writes it."""
        return self.root / relative


def parse(snapshot: Snapshot, environment: Mapping[str, str], registry: Registry = ADAPTERS, *, measured: bool = True) -> Workspace:
    """Raises ConfigError with every fault, by file and line. `measured`: with what `lockgate tune` writes, which must be there and fit."""
    return _Parser(snapshot, environment, registry, measured).workspace()


class _Parser:
    def __init__(self, snapshot: Snapshot, environment: Mapping[str, str], registry: Registry, measured: bool) -> None:
        self._measured = measured
        self._snapshot = snapshot
        self._environment = environment
        self._registry = registry
        self._faults: list[Fault] = []
        self._refused: BundleError | None = None

    def workspace(self) -> Workspace:
        config_document, config = self._document(snapshot_file := self._snapshot.config, Config)
        name = config.catalog if config is not None else "catalog.yaml"
        catalog_file = beside(snapshot_file, name)
        if catalog_file not in self._snapshot.files:
            self._faults.append(config_document.fault(("catalog",), f"The file '{catalog_file}' does not exist."))
            raise self._error()
        catalog_document, catalog = self._document(catalog_file, Catalog)
        pieces = parts(catalog_document)
        utterances, faults = read_sources(pieces.document, sources_of(pieces), self._snapshot.files)
        self._faults += faults
        destinations = self._destinations(pieces)
        self._faults += [*check_references(pieces), *check_rewrites(pieces), *check_names(pieces), *check_reachable(pieces)]
        self._faults += [*check_utterances(pieces, utterances), *check_trainable(pieces, utterances)]
        self._faults += check_weights(pieces)
        if config is None:
            raise self._error()
        self._faults += [*check_config(config, config_document, pieces), *self._projections(config, config_document)]
        encoder = self._adapter("encoder", config.classifier.encoder, config_document, ("classifier", "encoder"))
        index = self._adapter("index", config.classifier.index, config_document, ("classifier", "index"))
        engine = self._adapter("policy engine", config.policy.engine, config_document, ("policy", "engine"))
        second = self._second_engine(config, config_document)
        named = config.signals.recogniser
        recogniser = self._adapter("recogniser", named, config_document, ("signals", "recogniser")) if named is not None else None
        ledger_store = self._adapter("ledger store", config.audit.store, config_document, ("audit", "store"))
        bundle = self._bundle(config, config_document)
        policies, data = self._judging(config, config_document, bundle)
        calibration = self._read(_calibration_file(config), ("classifier", "llm", "calibration"), LlmCalibration.from_json, config_document)
        tuned = self._read(_thresholds_file(config), ("classifier", "thresholds"), Tuned.from_yaml, config_document)
        digests = self._digests(config, policies, data)
        if catalog is not None and tuned is not None:
            self._faults += _stale(tuned, config, catalog, digests.catalog)
        if self._faults or catalog is None or encoder is None or index is None or engine is None or ledger_store is None:
            raise self._error()
        full = with_examples(catalog, utterances)
        return Workspace(
            self._snapshot.root,
            config,
            full,
            policies,
            data,
            destinations,
            encoder,
            index,
            engine,
            recogniser,
            digests,
            calibration,
            tuned,
            ledger_store,
            second,
            bundle,
        )

    def _document(self, file: str, model: type[Model]) -> tuple[Document, Model | None]:
        document, faults = read_yaml(file, self._snapshot.files[file], self._environment)
        self._faults += faults
        if document is None:
            return Document(file, {}), None
        value, faults = validate(model, document, value={} if document.value is None else document.value)
        self._faults += faults
        return document, value

    def _destinations(self, pieces: Parts) -> dict[str, BaseModel]:
        found = (
            (name, self._adapter("destination", block, pieces.document, ("destinations", name)))
            for name, block in pieces.destinations.items()
        )
        return {name: settings for name, settings in found if settings is not None}

    def _adapter(self, kind: str, block: AdapterBlock, document: Document, loc: Loc) -> BaseModel | None:
        try:
            model = self._registry.settings(kind, block.adapter)
        except ConfigError as error:
            self._faults.append(document.fault((*loc, "adapter"), str(error)))
            return None
        settings, faults = validate(model, document, loc, dict(block.settings))
        self._faults += faults
        return settings

    def _second_engine(self, config: Config, document: Document) -> BaseModel | None:
        compare = config.policy.compare
        return None if compare is None else self._adapter("policy engine", compare.engine, document, ("policy", "compare", "engine"))

    def _projections(self, config: Config, document: Document) -> Iterator[Fault]:
        """Their settings are checked with the configuration; what is missing here is what they need installed."""
        for name, block in config.audit.projections.items():
            try:
                self._registry.load("projection", block.adapter)
            except ConfigError as error:
                yield document.fault(("audit", "projections", name, "adapter"), str(error))

    def _judging(self, config: Config, document: Document, bundle: Bundle | None) -> tuple[Mapping[str, str], Mapping[str, Any]]:
        """Policies and data. Data beside a bundle only where it leaves them to others."""
        if config.policy.bundle is None:
            policies = self._policies(config, document)
            return policies, self._policy_data(config, document, policies)
        if bundle is None:
            return {}, {}
        if bundle.has_settings and config.policy.data is None:
            return bundle.policies, bundle.data
        if bundle.has_settings:
            sentence = "The bundle has the data itself; leave 'data' out, or build it with roots that do not hold lockgate/config."
            self._faults.append(document.fault(("policy", "data"), sentence))
        return bundle.policies, self._policy_data(config, document, bundle.policies)

    def _bundle(self, config: Config, document: Document) -> Bundle | None:
        settings = config.policy.bundle
        if settings is None:
            return None
        try:
            return self._opened(settings)
        except BundleError as error:
            self._refused = error
            self._faults.append(document.fault(("policy", "bundle"), str(error)))
            return None

    def _opened(self, settings: BundleConfig) -> Bundle:
        found = bundle_files(self._snapshot.files, settings.source)
        if found is None:
            why = "nothing was downloaded from it yet; `lockgate serve` does" if settings.remote else "there is nothing"
            raise BundleError(f"There is no bundle at '{settings.source}': {why}.", "bundle_unavailable")
        files = unpack(found, "The bundle") if isinstance(found, bytes) else found
        bundle = open_bundle(files, Trust(self._bundle_keys(settings), ATTESTED[settings.attested]))
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

    def _policies(self, config: Config, document: Document) -> dict[str, str]:
        policies: dict[str, str] = {}
        for file, data in self._snapshot.files.items():
            if file.endswith(".rego"):
                policies[file], faults = decode(file, data)
                self._faults += faults
        if config.policy.library and JOINED not in policies:
            self._faults += _not_adopted(config, document, policies)
        compare = config.policy.compare
        engines = {config.policy.engine.adapter, *([compare.engine.adapter] if compare is not None else [])}
        if not policies and engines & OF_THE_FOLDER:
            loc: Loc = ("policy", "path")
            self._faults.append(
                document.fault(loc, f"The folder '{config.policy.path}' has no policy in it; without one nothing is allowed.")
            )
        return policies

    def _policy_data(self, config: Config, config_document: Document, policies: Mapping[str, str]) -> Mapping[str, Any]:
        """As OPA would read it: nothing is filled in from the environment."""
        for place in map(os.path.normpath, named_data({"data": config.policy.data})):
            if not held_files(self._snapshot.files, place):
                self._faults.append(config_document.fault(("policy", "data"), f"The file '{place}' does not exist."))
        read = [read_yaml(file, self._snapshot.files[file], None) for file in self._data_files(config)]
        documents = [document for document, _ in read if document is not None]
        value, faults = merged(documents)
        place = data_places(config.policy.path, named_data({"data": config.policy.data}))[0]
        self._faults += [*(fault for _, found in read for fault in found), *faults, *faults_of(policies, value, documents, place)]
        return value

    def _data_files(self, config: Config) -> list[str]:
        """Each once, as the configuration names them."""
        places = data_places(config.policy.path, named_data({"data": config.policy.data}))
        return list(dict.fromkeys(file for place in places for file in held_files(self._snapshot.files, place)))

    def _read(self, file: str | None, loc: Loc, reader: Callable[[bytes], Read], document: Document) -> Read | None:
        """What `lockgate tune` wrote."""
        if file is None or not self._measured:
            return None
        if file not in self._snapshot.files:
            self._faults.append(document.fault(loc, f"The file '{file}' does not exist; `lockgate tune` writes it."))
            return None
        try:
            return reader(self._snapshot.files[file])
        except ConfigError as error:
            self._faults.append(Fault(file, 1, str(error)))
            return None

    def _digests(self, config: Config, policies: Mapping[str, str], data: Mapping[str, Any]) -> Digests:
        files = self._snapshot.files
        if config.policy.bundle is not None:
            return self._digests_of_bundle(config, config.policy.bundle, content_digest(policies, data))
        judging = {path for path in (*policies, *self._data_files(config)) if path in files}
        # What was measured names the catalog's digest, so it is no part of it.
        others = {self._snapshot.config, _calibration_file(config), _thresholds_file(config)}
        rest = {path: data for path, data in files.items() if path not in judging and path not in others}
        return Digests(self._snapshot.digest, digest(rest), digest({path: files[path] for path in judging}))

    def _digests_of_bundle(self, config: Config, settings: BundleConfig, policy: str) -> Digests:
        """Policies have the digest that stands in verdicts."""
        place = DOWNLOADED if settings.remote else os.path.normpath(settings.source)
        others = {self._snapshot.config, _calibration_file(config), _thresholds_file(config), place}
        others |= {os.path.normpath(key.file) for key in settings.keys.values()}
        others |= set(self._data_files(config)) if config.policy.data is not None else set()
        files = self._snapshot.files
        rest = {path: data for path, data in files.items() if path not in others and not path.startswith(f"{place}/")}
        return Digests(self._snapshot.digest, digest(rest), policy)

    def _error(self) -> ConfigError:
        if self._refused is not None and len(set(self._faults)) == 1:
            return BundleError(str(self._faults[0]), self._refused.code)
        return ConfigError(*(str(fault) for fault in sorted(set(self._faults))))


def _not_adopted(config: Config, document: Document, policies: Mapping[str, str]) -> Iterator[Fault]:
    try:
        adopt(policies, config.policy.library)
    except ConfigError as error:
        yield from (document.fault(("policy", "library"), sentence) for sentence in error.faults)


def same_but_policies(one: Workspace, other: Workspace) -> bool:
    """Whether nothing is different but policies, their data, and how they are evaluated."""
    config = one.config.model_copy(update={"policy": other.config.policy})
    digests = replace(one.digests, config=other.digests.config, policy=other.digests.policy)
    named = ("policies", "policy_data", "engine", "second_engine", "bundle")
    return replace(one, config=config, digests=digests, **{name: getattr(other, name) for name in named}) == other


def _calibration_file(config: Config) -> str | None:
    llm = config.classifier.llm
    return os.path.normpath(llm.calibration) if llm is not None and llm.calibration is not None else None


def _thresholds_file(config: Config) -> str | None:
    return os.path.normpath(config.classifier.thresholds) if config.classifier.thresholds is not None else None


def tuned_settings(config: Config) -> dict[str, Any]:
    """Those of the classifier, beside the catalog's, that the counts behind a threshold depend on."""
    named = {"max_error", "costs", "min_confidence", "min_margin", "min_scope", "coverage", "static"}
    return config.classifier.model_dump(mode="json", include=named)


def stated_aim(config: Config, intent: Intent) -> float | Costs | None:
    """A share of errors, or costs: the intent's own, else the listener's; none where the intent has a confidence of its own instead."""
    own = intent.costs if intent.costs is not None else intent.max_error
    if own is not None or intent.min_confidence is not None:
        return own
    costs = config.classifier.costs
    return costs.at(intent.risk) if costs is not None else config.classifier.max_error


def _stale(tuned: Tuned, config: Config, catalog: Catalog, digest: str) -> Iterator[Fault]:
    file = _thresholds_file(config) or ""
    if tuned.catalog_digest != digest:
        yield Fault(file, 1, "The thresholds are for another catalog; run `lockgate tune` and review what it changes.")
        return
    settings = tuned_settings(config)
    for name in (name for name, value in settings.items() if tuned.settings.get(name) != value):
        yield Fault(file, 1, f"The thresholds are for another 'classifier.{name}'; run `lockgate tune` and review what it changes.")
    stated = {name for name, intent in catalog.intents.items() if stated_aim(config, intent) is not None}
    if tuned.settings == settings and stated != tuned.confidences.keys():
        yield Fault(file, 1, "The thresholds are for other intents; run `lockgate tune` and review what it changes.")


def check_weights(catalog: Parts) -> Iterator[Fault]:
    for name in catalog.weights():
        if name not in DEFAULT_WEIGHTS:
            yield catalog.document.fault(("risk", "weights", name), f"There is no risk weight '{name}'.{suggestion(name, DEFAULT_WEIGHTS)}")


def check_config(config: Config, document: Document, catalog: Parts) -> Iterator[Fault]:
    abstain = config.gateway.on_abstain.route
    if abstain is not None and abstain not in (routes := catalog.names("routes")):
        yield document.fault(("gateway", "on_abstain"), f"There is no route '{abstain}'.{suggestion(abstain, routes)}")
    chosen = catalog.routes.get(abstain) if abstain is not None else None
    if chosen is not None and (chosen.path is None or chosen.method is None):
        sentence = f"The route '{abstain}' takes requests that nobody understood, so it needs path and method of its own."
        yield document.fault(("gateway", "on_abstain"), sentence)
    yield from _distinct(document, [(("limits", place, "name"), limit.name) for place, limit in enumerate(config.limits)], "limit")
    issuers = [(("identity", "jwt", place, "issuer"), issuer.issuer) for place, issuer in enumerate(config.identity.jwt)]
    yield from _distinct(document, [(loc, name) for loc, name in issuers], "issuer")
    yield from _same_prefix(document, config)
    listeners: list[tuple[Loc, Address]] = [(("gateway", "listen"), config.gateway.listen), (("control", "listen"), config.control.listen)]
    if config.decide is not None:
        listeners.append((("decide", "listen"), config.decide.listen))
    if config.audit.tiles is not None:
        listeners.append((("audit", "tiles", "listen"), config.audit.tiles.listen))
    listeners.sort(key=lambda listener: document.real(listener[0]) == listener[0])  # a fault belongs to a line that is written
    yield from _distinct(document, [(loc, str(where)) for loc, where in listeners if where.port != 0], "listener on")


def _same_prefix(document: Document, config: Config) -> Iterator[Fault]:
    """Two issuers' subjects of one name would be one subject."""
    seen: dict[str, str] = {}
    for place, issuer in enumerate(config.identity.jwt):
        if issuer.subject_prefix in seen:
            sentence = f"The issuer '{issuer.issuer}' needs a 'subject_prefix' that '{seen[issuer.subject_prefix]}' does not have."
            yield document.fault(document.real(("identity", "jwt", place, "subject_prefix")), sentence)
        seen.setdefault(issuer.subject_prefix, issuer.issuer)


def with_examples(catalog: Catalog, utterances: Mapping[str, list[Utterance]]) -> Catalog:
    texts = {owner: tuple(utterance.text for utterance in found) for owner, found in utterances.items()}
    intents = {name: intent.model_copy(update={"examples": texts[name]}) for name, intent in catalog.intents.items()}
    outside = catalog.out_of_scope.model_copy(update={"examples": texts[BACKGROUND]})
    return catalog.model_copy(update={"intents": intents, "out_of_scope": outside})


def _distinct(document: Document, named: list[tuple[Loc, str]], kind: str) -> Iterator[Fault]:
    seen: set[str] = set()
    for loc, name in named:
        if name in seen:
            yield document.fault(loc, f"There is already a {kind} '{name}'.")
        seen.add(name)
