"""From the bytes of a workspace to validated, frozen models; or to every fault in them at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from router.bundle.content import Bundle, content_digest
from router.bundle.versions import OVERRIDE, Override
from router.catalog import Catalog, Intent
from router.catalog_checks import Parts, check_names, check_reachable, check_references, check_rewrites, parts
from router.config import AdapterBlock, Config
from router.config.bundles import BundleConfig
from router.config.costs import Costs
from router.config.evidence import SqliteStoreSettings
from router.errors import BundleError, ConfigError
from router.faults import Document, Fault, Loc, suggestion
from router.learned import NOTHING, Learned, put_over, read_learned
from router.learned import beside as add_learned
from router.policy_sources import DOWNLOADED, policy_files
from router.registry import ADAPTERS, Registry
from router.secret import InVault
from router.settings import Address
from router.snapshot import Snapshot, digest, read, watched
from router.stages.llm_calibration import LlmCalibration
from router.stages.risk import DEFAULT_WEIGHTS
from router.stages.tuned import Tuned
from router.utterances import BACKGROUND, Utterance, beside, check_trainable, check_utterances, read_sources, sources_of
from router.validation import Model, validate
from router.vaulted import Vaulted
from router.workspace_policies import Judging
from router.yaml_source import read_yaml

Read = TypeVar("Read")

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
    them holds. `destinations`, `encoder`, `index`, `engine`, `recogniser`, `ledger_store`, `shared_state`, `node_store` and `second_engine`
    are adapters' validated settings, each an instance of that adapter's own model. `bundle` is where the policies come from, unless that
    is a folder; `override` what was put in force over either; `secrets` what was read from a vault."""

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
    shared_state: BaseModel | None = None
    override: Override | None = None
    node_store: BaseModel | None = None
    consumers: Mapping[str, BaseModel] = field(default_factory=dict)
    notifiers: Mapping[str, BaseModel] = field(default_factory=dict)
    secrets: Mapping[InVault, str] = field(default_factory=dict, repr=False)

    @property
    def visible_headers(self) -> frozenset[str]:
        """Names of the request's header fields that rules, policy and records see."""
        named = {name for rule in self.catalog.rules for name in rule.match.header} | set(self.config.gateway.forward_headers)
        canaries = (route.canary for route in self.catalog.routes.values())
        return frozenset(named | {canary.header for canary in canaries if canary is not None and canary.header is not None})

    def path(self, relative: str) -> Path:
        """A path as the configuration writes it."""
        return self.root / relative


def parse(
    snapshot: Snapshot,
    environment: Mapping[str, str],
    registry: Registry = ADAPTERS,
    *,
    measured: bool = True,
    judged: bool = True,
    vaulted: Vaulted | None = None,
) -> Workspace:
    """Raises ConfigError with every fault, by file and line. `measured`: with what `lockgate tune` writes, which must be there and fit.
    `judged`: with the policies, of which that holds, too. `vaulted`: for who wants to know which secrets are in a vault."""
    return _Parser(snapshot, environment, registry, measured, judged, vaulted).workspace()


def without_policies(path: Path, environment: Mapping[str, str]) -> Workspace:
    """The workspace at `path`, for who decides about no request: policies, and what `lockgate tune` writes, need not be there, nor in
    order; a bundle may not have been downloaded yet. Raises ConfigError."""
    return parse(read(path, environment, override=False), environment, measured=False, judged=False)


class _Parser:
    def __init__(
        self,
        snapshot: Snapshot,
        environment: Mapping[str, str],
        registry: Registry,
        measured: bool,
        judged: bool,
        vaulted: Vaulted | None,
    ) -> None:
        self._measured = measured
        self._judged = judged
        self._snapshot = snapshot
        self._environment = environment
        self._registry = registry
        self._faults: list[Fault] = []
        self._vaulted = vaulted if vaulted is not None else Vaulted(snapshot.root, snapshot.secrets, registry)

    def workspace(self) -> Workspace:
        config_document, config = self._document(snapshot_file := self._snapshot.config, Config)
        self._vaulted.settings = config.secrets.vault if config is not None else None
        name = config.catalog if config is not None else "catalog.yaml"
        catalog_file = beside(snapshot_file, name)
        if catalog_file not in self._snapshot.files:
            self._faults.append(config_document.fault(("catalog",), f"The file '{catalog_file}' does not exist."))
            raise self._error()
        catalog_document, catalog = self._document(catalog_file, Catalog)
        catalog_document, catalog, learned = self._learned(catalog_document, catalog)
        pieces = parts(catalog_document)
        utterances, faults = read_sources(pieces.document, sources_of(pieces), self._snapshot.files)
        self._faults += faults
        if catalog is not None and catalog.learned is not None:
            add_learned(utterances, learned, catalog.learned)
        destinations = self._destinations(pieces)
        self._faults += self._followed(pieces)
        self._faults += self._resumed(pieces, destinations)
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
        node_store = self._node_store(config, config_document)
        shared = config.shared_state
        shared_state = self._adapter("shared state", shared, config_document, ("shared_state",)) if shared is not None else None
        if shared_state is not None and shared is not None:
            self._faults += self._missing("shared state", shared.adapter, config_document, ("shared_state",))
        consumers = self._consumers(config, config_document)
        notifiers = self._notifiers(config, config_document, catalog)
        judging = Judging(self._snapshot, config.policy, config_document)
        self._faults += judging.faults if self._judged else []
        calibration = self._read(_calibration_file(config), ("classifier", "llm", "calibration"), LlmCalibration.from_json, config_document)
        tuned = self._read(_thresholds_file(config), ("classifier", "thresholds"), Tuned.from_yaml, config_document)
        digests = self._digests(config, judging)
        if catalog is not None and tuned is not None:
            self._faults += _stale(tuned, config, catalog, digests.catalog)
        if self._faults or catalog is None or encoder is None or index is None or engine is None or ledger_store is None:
            raise self._error(judging.refused)
        full = with_examples(catalog, utterances)
        return Workspace(
            self._snapshot.root,
            config,
            full,
            judging.policies,
            judging.data,
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
            judging.bundle,
            shared_state,
            None if (override := self._snapshot.files.get(OVERRIDE)) is None else Override.from_json(override),
            node_store,
            consumers,
            notifiers,
            self._snapshot.secrets,
        )

    def _document(self, file: str, model: type[Model]) -> tuple[Document, Model | None]:
        document, faults = read_yaml(file, self._snapshot.files[file], self._environment)
        self._faults += faults
        if document is None:
            return Document(file, {}), None
        return document, self._valid(model, document, (), {} if document.value is None else document.value)

    def _valid(self, model: type[Model], document: Document, loc: Loc, value: Any) -> Model | None:
        found, faults = validate(model, document, loc, value, self._vaulted)
        self._faults += faults
        if found is not None:
            self._vaulted.wanted(document, loc, found)
        return found

    def _learned(self, document: Document, catalog: Catalog | None) -> tuple[Document, Catalog | None, Learned]:
        """The catalog with what was learnt put over it, so that everything that is checked of a catalog is checked of both together."""
        if catalog is None or catalog.learned is None:
            return document, catalog, NOTHING
        learned, faults = read_learned(beside(document.file, catalog.learned), self._snapshot.files)
        self._faults += faults
        merged, faults = put_over(document, learned)
        self._faults += faults
        if merged is not document:
            catalog, faults = validate(Catalog, merged, value=merged.value)
            self._faults += faults
        return merged, catalog, learned

    def _destinations(self, pieces: Parts) -> dict[str, BaseModel]:
        found = dict[str, BaseModel]()
        for name, block in pieces.destinations.items():
            loc = ("destinations", name)
            settings = self._adapter("destination", block, pieces.document, loc)
            if settings is not None:
                found[name] = settings
                self._faults += self._missing("destination", block.adapter, pieces.document, loc)
        return found

    def _followed(self, pieces: Parts) -> Iterator[Fault]:
        """Only an engine can be asked what became of its work."""
        for name, route in pieces.routes.items():
            block = pieces.destinations.get(route.destination)
            if block is None or route.evidence is None or not route.evidence.follow:
                continue
            try:
                can = hasattr(self._registry.load("destination", block.adapter), "follower")
            except ConfigError:  # which is told with the destination
                continue
            if not can:
                sentence = f"The destination '{route.destination}' cannot be asked how work ended: '{block.adapter}' has no such question."
                yield pieces.document.fault(("routes", name, "evidence", "follow"), sentence)

    def _resumed(self, pieces: Parts, settings: Mapping[str, BaseModel]) -> Iterator[Fault]:
        """Who waits in an engine is not resumed by new work that is started there."""
        for name, route in pieces.routes.items():
            for key in ("destination", "refused") if route.resume is not None else ():
                led = getattr(route.resume, key)
                block = pieces.destinations.get(led or "")
                if block is None or led not in settings:  # which is told elsewhere
                    continue
                try:
                    resumes = getattr(self._registry.load("destination", block.adapter), "resumes", None)
                except ConfigError:  # which is told with the destination
                    continue
                if resumes is not None and not resumes(settings[led]):
                    sentence = (
                        f"The destination '{led}' cannot resume who waits: '{block.adapter}', as it is set up, starts new work each time."
                    )
                    yield pieces.document.fault(("routes", name, "resume", key), sentence)

    def _adapter(self, kind: str, block: AdapterBlock, document: Document, loc: Loc) -> BaseModel | None:
        try:
            model = self._registry.settings(kind, block.adapter)
        except ConfigError as error:
            self._faults.append(document.fault((*loc, "adapter"), str(error)))
            return None
        settings = self._valid(model, document, loc, dict(block.settings))
        if settings is not None and kind in ("destination", "notifier"):
            self._faults += self._unusable(block.adapter, settings, document, loc)
        return settings

    def _unusable(self, adapter: str, settings: BaseModel, document: Document, loc: Loc) -> Iterator[Fault]:
        """What only the files tell that the settings name."""
        unusable = getattr(settings, "unusable", None)
        if unusable is not None:
            try:
                for sentence in unusable(self._snapshot.root):
                    yield document.fault(loc, sentence)
            except ModuleNotFoundError:
                yield from self._missing("destination", adapter, document, loc)

    def _node_store(self, config: Config, document: Document) -> BaseModel | None:
        if config.nodes is None:
            return None
        if config.audit.store.adapter == "sqlite":
            message = "'nodes' is for several nodes on one ledger, and this ledger is a file of one: set 'audit.store' to postgres."
            self._faults.append(document.fault(("nodes",), message))
        return self._adapter("node store", config.nodes.store, document, ("nodes", "store"))

    def _consumers(self, config: Config, document: Document) -> dict[str, BaseModel]:
        """By source, the settings of its broker."""
        found = dict[str, BaseModel]()
        for name, source in config.events.sources.items() if config.events is not None else ():
            if source.consume is not None:
                loc = ("events", "sources", name, "consume")
                settings = self._adapter("event source", source.consume, document, loc)
                self._faults += self._missing("event source", source.consume.adapter, document, loc)
                if settings is not None:
                    found[name] = settings
        return found

    def _notifiers(self, config: Config, document: Document, catalog: Catalog | None) -> dict[str, BaseModel]:
        """By name, the settings of its channel."""
        found = dict[str, BaseModel]()
        for name, notify in config.review.notify.items():
            loc = ("review", "notify", name)
            settings = self._adapter("notifier", notify.through, document, (*loc, "through"))
            if settings is not None:
                found[name] = settings
            for place, pattern in enumerate(notify.routes if catalog is not None else ()):
                if catalog is not None and not any(fnmatchcase(route, pattern) for route in catalog.routes):
                    self._faults.append(document.fault((*loc, "routes", place), f"No route is called '{pattern}'."))
        return found

    def _second_engine(self, config: Config, document: Document) -> BaseModel | None:
        compare = config.policy.compare
        return None if compare is None else self._adapter("policy engine", compare.engine, document, ("policy", "compare", "engine"))

    def _projections(self, config: Config, document: Document) -> Iterator[Fault]:
        """Their settings are checked with the configuration; what is missing here is what they need installed."""
        for name, block in config.audit.projections.items():
            yield from self._missing("projection", block.adapter, document, ("audit", "projections", name))

    def _missing(self, kind: str, adapter: str, document: Document, loc: Loc) -> Iterator[Fault]:
        try:
            self._registry.load(kind, adapter)
        except ConfigError as error:
            yield document.fault((*loc, "adapter"), str(error))

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

    def _digests(self, config: Config, judging: Judging) -> Digests:
        files = self._snapshot.files
        if config.policy.bundle is not None:
            return self._digests_of_bundle(config, config.policy.bundle, judging)
        decisive = {path for path in (*judging.policies, *judging.data_files()) if path in files}
        # What was measured names the catalog's digest, so it is no part of it.
        others = {self._snapshot.config, _calibration_file(config), _thresholds_file(config), OVERRIDE}
        rest = {path: data for path, data in files.items() if path not in decisive and path not in others}
        return Digests(self._snapshot.digest, digest(rest), digest({path: files[path] for path in decisive}))

    def _digests_of_bundle(self, config: Config, settings: BundleConfig, judging: Judging) -> Digests:
        """Policies have the digest that stands in verdicts."""
        place = DOWNLOADED if settings.remote else os.path.normpath(settings.source)
        others = {self._snapshot.config, _calibration_file(config), _thresholds_file(config), OVERRIDE, place}
        others |= {os.path.normpath(key.file) for key in settings.keys.values()}
        others |= set(judging.data_files()) if config.policy.data is not None else set()
        files = self._snapshot.files
        rest = {path: data for path, data in files.items() if path not in others and not path.startswith(f"{place}/")}
        return Digests(self._snapshot.digest, digest(rest), content_digest(judging.policies, judging.data))

    def _error(self, refused: BundleError | None = None) -> ConfigError:
        if refused is not None and len(set(self._faults)) == 1:
            return BundleError(str(self._faults[0]), refused.code)
        return ConfigError(*(str(fault) for fault in sorted(set(self._faults))))


def same_but_policies(one: Workspace, other: Workspace) -> bool:
    """Whether nothing is different but policies, their data, and how they are evaluated."""
    config = one.config.model_copy(update={"policy": other.config.policy})
    digests = replace(one.digests, config=other.digests.config, policy=other.digests.policy)
    named = ("policies", "policy_data", "engine", "second_engine", "bundle", "override")
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
    yield from _answers_are_sealed(config, document, catalog)
    yield from _intents_of_limits(config, document, catalog)
    issuers = [(("identity", "jwt", place, "issuer"), issuer.issuer) for place, issuer in enumerate(config.identity.jwt)]
    yield from _distinct(document, [(loc, name) for loc, name in issuers], "issuer")
    yield from _same_prefix(document, config)
    yield from _certificates(document, config)
    if not config.doors and config.envoy is None and config.events is None:
        yield document.fault(("gateway", "listen"), "No door is open: set 'gateway.listen', 'decide', 'events' or 'envoy'.")
    listeners: list[tuple[Loc, Address]] = []
    if config.gateway.listen is not None:
        listeners.append((("gateway", "listen"), config.gateway.listen))
    listeners.append((("control", "listen"), config.control.listen))
    if config.control.probes is not None:
        listeners.append((("control", "probes"), config.control.probes))
    if config.envoy is not None:
        listeners.append((("envoy", "listen"), config.envoy.listen))
    if config.decide is not None:
        listeners.append((("decide", "listen"), config.decide.listen))
    if config.events is not None and config.events.listen is not None:
        listeners.append((("events", "listen"), config.events.listen))
    if config.audit.tiles is not None:
        listeners.append((("audit", "tiles", "listen"), config.audit.tiles.listen))
    listeners.sort(key=lambda listener: document.real(listener[0]) == listener[0])  # a fault belongs to a line that is written
    yield from _distinct(document, [(loc, str(where)) for loc, where in listeners if where.port != 0], "listener on")


def _answers_are_sealed(config: Config, document: Document, catalog: Parts) -> Iterator[Fault]:
    """Upstreams' answers are the callers', and are not put on a shared server in the clear."""
    shared = config.shared_state
    keeping = next((name for name, route in catalog.routes.items() if route.idempotency is not None), None)
    if shared is None or "key" in shared.settings:
        return
    if keeping is not None:
        sentence = f"The route '{keeping}' keeps answers ('idempotency'), which need a 'shared_state.key' to be sealed with."
        yield document.fault(("shared_state",), sentence)
    if config.decide is not None and config.decide.idempotency is not None:
        sentence = "The decide API keeps decisions ('decide.idempotency'), which need a 'shared_state.key' to be sealed with."
        yield document.fault(("shared_state",), sentence)


def _intents_of_limits(config: Config, document: Document, catalog: Parts) -> Iterator[Fault]:
    known = catalog.names("intents")
    for place, limit in enumerate(config.limits):
        for name in limit.intents:
            if name not in known:
                yield document.fault(("limits", place, "intents"), f"There is no intent '{name}'.{suggestion(name, known)}")


def _certificates(document: Document, config: Config) -> Iterator[Fault]:
    named = [(("identity", "certificates", place), each.uri or each.dns or "") for place, each in enumerate(config.identity.certificates)]
    yield from _distinct(document, list(named), "certificate entry for")
    asking = [config.listeners_tls.get(name) for name in ("gateway", "decide", "control", "tiles")]
    if named and all(tls is None or tls.client_certificates == "none" for tls in asking):
        where = "'gateway.tls', 'decide.tls' or 'control.tls'"
        sentence = f"No listener asks for certificates; set 'client_ca' and 'client_certificates' in {where}."
        yield document.fault(("identity", "certificates"), sentence)


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
