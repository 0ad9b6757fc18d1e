from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from router.config.blocks import AdapterBlock
from router.config.bundles import BundleConfig
from router.config.costs import CostsByRisk
from router.config.identity import SecureUrl
from router.config.opa import CompareConfig
from router.config.rollouts import RolloutConfig
from router.secret import Secret
from router.settings import Bool, Count, Fraction, LanguageCode, Name, Span, Strict, Text


class KnownLanguages(Strict):
    """What every encoder may be told."""

    languages: tuple[LanguageCode, ...] | None = Field(
        default=None,
        min_length=1,
        description="Languages that the encoder knows, as ISO 639-1 codes, or `*` for any; a text in another one is `undetermined`. "
        "Where none are given: what its manifest says, else `en`.",
    )


class MinilmEncoder(KnownLanguages):
    """Encoder adapter `minilm`: the `lockgate-minilm` package (all-MiniLM-L6-v2 as int8 ONNX)."""

    threads: Count = Field(default=1, description="Threads for one text. More help only long texts on idle cores.")
    digest: Text | None = Field(default=None, description="Refuse any encoder but the one with this digest.")


class OnnxEncoderSettings(MinilmEncoder):
    """Encoder adapter `onnx`: a directory with `manifest.json`, `model.onnx` and `tokenizer.json`."""

    directory: Text = Field(description="The directory, relative to the configuration file.")


class SentenceTransformersEncoder(KnownLanguages):
    """Encoder adapter `sentence-transformers`: any model of that library; needs `pip install 'lockgate[sentence-transformers]'`."""

    model: Text = Field(description="A directory, relative to the configuration file, or a hub name, which is downloaded at first use.")
    revision: Text | None = Field(default=None, description="Commit, tag or branch of a hub name; else what is its newest.")
    device: Text = Field(default="cpu", description="Device that the library computes on.")
    digest: Text | None = Field(default=None, description="Refuse any encoder but the one with this digest.")


class ModelServer(Strict):
    """A server that litellm knows how to speak to."""

    url: SecureUrl = Field(description="Base URL of the server, such as `http://127.0.0.1:8000/v1`. There is no default.")
    model: Text = Field(description="The model to ask for, as the server calls it.")
    provider: Text = Field(
        default="openai", description="The server's protocol, as litellm names it; `openai` is every server that is compatible with it."
    )
    api_key: Secret | None = Field(default=None, description="The server's key, `${NAME}` or `{file: PATH}`.")
    ca: Text | None = Field(
        default=None,
        description="PEM file with authorities that are believed beside the system's; with the provider `openai`.",
    )

    @model_validator(mode="after")
    def _believing(self) -> Self:
        if self.ca is not None and (self.provider != "openai" or not self.url.startswith("https://")):
            raise ValueError("'ca' is for the provider 'openai' and a URL that begins with https://.")
        return self


class LitellmEncoderSettings(ModelServer, KnownLanguages):
    """Encoder adapter `litellm`: a server that gives embeddings. Texts leave this process. Needs `pip install 'lockgate[llm]'`."""

    dimensions: Count | None = Field(
        default=None, description="Numbers of a vector; others are refused. Not asked of the server. Without it: what the first vector has."
    )
    characters: Count = Field(
        default=2000,
        description="Characters of a text that are sent. Choose it so that the model reads them all: its tokens are not known.",
    )
    raw_text: Bool = Field(
        default=False, description="Send texts as they are, rather than with the personal data and credentials that were found masked."
    )
    deadline: Span = Field(default=0.4, description="Longest time for one text's vector; `classifier.deadline` is for all of a request's.")
    batch: int = Field(default=32, ge=1, le=128, description="Most texts that are sent at once, in training.")
    batch_deadline: Span = Field(default=60.0, description="Longest time for the vectors of a batch, and for the first one at start.")
    failures: Count = Field(default=5, description="Failures in a row after which the server is left alone for a time.")
    open_for: Span = Field(default=5.0, description="How long it is then left alone.")
    digest: Text | None = Field(default=None, description="Refuse any encoder but the one with this digest.")


class MemoryIndexSettings(Strict):
    """Index adapter `memory`: the examples' vectors in each worker. It has no settings."""


class QdrantIndexSettings(Strict):
    """Index adapter `qdrant`: the examples' vectors on a Qdrant server, from version 1.16 on. Needs `pip install 'lockgate[qdrant]'`."""

    url: SecureUrl = Field(
        description="URL of the server's REST interface, such as `http://127.0.0.1:6333`. There is no default; without a port it is the "
        "scheme's."
    )
    api_key: Secret | None = Field(default=None, description="The server's key, `${NAME}` or `{file: PATH}`.")
    prefix: Name = Field(default="lockgate-", description="How the names of its collections begin; the model's digest follows.")
    deadline: Span = Field(default=0.1, description="Longest time for one question; `classifier.deadline` is for all of a request's.")
    batch_deadline: Span = Field(default=30.0, description="Longest time for each step of storing and checking a model's examples.")
    failures: Count = Field(default=5, description="Failures in a row after which the server is left alone for a time.")
    open_for: Span = Field(default=5.0, description="How long it is then left alone.")


class PresidioSettings(Strict):
    """Recogniser adapter `presidio`: presidio-analyzer's English recognisers; needs `pip install 'lockgate[presidio]'`."""

    min_score: Fraction = Field(default=0.4, description="Least score of what it finds; at 0.5 it finds no telephone numbers.")
    chars: Count = Field(
        default=2048, description="Characters that it looks at; of a longer text `pii` is unknown. It blocks the worker while it looks."
    )


class SignalsConfig(Strict):
    """What is looked for in requests beside what always is."""

    recogniser: AdapterBlock | None = Field(
        default=None, description="One more recogniser of personal data beside the built-in one: `presidio`, with its settings."
    )


class EmbeddedEngine(Strict):
    """Policy engine adapter `embedded`: Rego in this process. It has no settings."""


class ChatConfig(ModelServer):
    """A language model that is asked one thing at a time, within bounds."""

    response_format: Literal["json_object", "json_schema", "none"] = Field(
        default="json_object",
        description="How the server is held to the answer's form: `json_object` with a schema, which small local servers understand, "
        "`json_schema`, or not at all. The answer is checked all the same.",
    )
    deadline: Span = Field(default=3.0, description="Longest time for an answer.")
    max_tokens: int = Field(default=32, ge=8, le=4096, description="Most tokens of an answer; a model that thinks aloud needs more.")
    tokens_per_minute: Count = Field(default=60_000, description="Tokens that may be used in a minute.")
    failures: Count = Field(default=3, description="Failures in a row after which the model is left alone for a time.")
    open_for: Span = Field(default=30.0, description="How long it is then left alone.")


class LlmConfig(ChatConfig):
    """A language model that is asked where the encoder abstains, to choose among the encoder's candidates or none of them. It changes
    nothing without a calibration. Needs `pip install 'lockgate[llm]'`."""

    deadline: Span = Field(default=3.0, description="Longest time for an answer, beside `classifier.deadline`.")
    tokens_per_minute: Count = Field(default=60_000, description="Tokens that all workers together may use in a minute.")
    calibration: Text | None = Field(
        default=None,
        description="File with what the model's answers were found to be worth, relative to the configuration file. Without one the "
        "model is not asked.",
    )
    candidates: int = Field(default=5, ge=2, le=5, description="How many of the encoder's candidates are offered.")
    raw_text: Bool = Field(
        default=False, description="Send texts as they are, rather than with the personal data and credentials that were found masked."
    )
    out_of_scope: Bool = Field(default=False, description="Ask about texts that the encoder takes for out of scope, too.")
    cache: int = Field(default=10_000, ge=0, description="Choices that each worker remembers by text and candidates.")


class ClassifierConfig(Strict):
    """How request texts become intents, and how sure an answer must be. Intents may set their own thresholds."""

    encoder: AdapterBlock = Field(
        default=AdapterBlock(adapter="minilm"),
        description="The text encoder: `minilm`, `onnx`, `sentence-transformers` or `litellm`, with that adapter's settings.",
    )
    index: AdapterBlock = Field(
        default=AdapterBlock(adapter="memory"),
        description="Where the encoder tier looks for the example that is nearest to a text: `memory` or `qdrant`, with that adapter's "
        "settings.",
    )
    static: Bool = Field(
        default=True,
        description="Let the static tier answer what it was found to answer as well as the encoder, in tens of microseconds.",
    )
    min_confidence: Fraction = Field(default=0.7, description="Least calibrated confidence at which an intent is accepted.")
    max_error: Fraction | None = Field(
        default=None, description="Instead of `min_confidence`: the share of accepted decisions that may be wrong, such as `1%`."
    )
    costs: CostsByRisk | None = Field(
        default=None, description="Instead of `max_error`: what decisions cost. The threshold is then the one that costs least."
    )
    thresholds: Text | None = Field(
        default=None,
        description="File with the thresholds that `lockgate tune` found for each `max_error` and `costs`, relative to the configuration "
        "file. Without one they are found anew whenever the model is loaded, and nobody has reviewed them.",
    )
    min_margin: Fraction = Field(default=0.1, description="Least distance to the second intent; below it the request is `ambiguous`.")
    coverage: Fraction = Field(
        default=0.95,
        description="How often the prediction set is to have the right intent among its own; a set of two or three is `ambiguous`.",
    )
    min_scope: Fraction = Field(
        default=0.5, description="Least score that the text is about any intent at all; below it it is `out_of_scope`."
    )
    deadline: Span = Field(default=0.5, description="Longest time for a classification; then it is `unavailable`.")
    llm: LlmConfig | None = Field(
        default=None, description="A language model for what the encoder leaves open. None is asked unless this is set."
    )
    cache: int = Field(default=10_000, ge=0, description="Classifications that each worker remembers by their text.")

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if self.max_error is not None and self.costs is not None:
            raise ValueError("has both 'max_error' and 'costs'; keep one")
        return self


class PolicyConfig(Strict):
    """Which Rego decides, and in which engine."""

    engine: AdapterBlock = Field(
        default=AdapterBlock(adapter="embedded"),
        description="The policy engine: `embedded` evaluates Rego in this process, `isolated` in confined processes beside it, `opa` asks "
        "an OPA server, with that adapter's settings.",
    )
    path: Text = Field(default="policies", description="Folder of policies, relative to the configuration file.")
    bundle: BundleConfig | None = Field(
        default=None, description="A bundle of policies, in OPA's format, that is used instead of the folder `path`."
    )
    data: Text | tuple[Text, ...] | None = Field(
        default=None,
        description="File with the data that the policies decide by, or a folder, or a list of such: documents that make one, in which no "
        "key comes twice. `data.yaml` in the policies' folder where none is named.",
    )
    library: tuple[Name, ...] = Field(
        default=(),
        description="Packages of rules that ship with Lockgate and judge beside the policies of the folder; `lockgate policy library` "
        "lists them.",
    )
    deadline: Span = Field(default=0.05, description="Longest time for one evaluation; a late answer is a deny.")
    rollout: RolloutConfig = Field(
        default_factory=RolloutConfig, description="How other policies are brought in over these, where whoever proposes them does not say."
    )
    compare: CompareConfig | None = Field(
        default=None, description="A second engine that judges a share of the live requests again, without effect. None unless it is set."
    )

    @model_validator(mode="after")
    def _bundles_are_ours(self) -> Self:
        if self.bundle is not None and self.engine.adapter == "opa":
            raise ValueError("has a 'bundle', which the engine 'opa' would not use: an OPA server takes bundles by itself")
        return self

    @model_validator(mode="after")
    def _bundles_decide_as_they_are(self) -> Self:
        if self.bundle is not None and self.library:
            raise ValueError(
                "has a 'library' beside a 'bundle', which decides as it was signed; put it in by `lockgate policy build --library`"
            )
        return self
