from __future__ import annotations

from pydantic import Field

from router.config.blocks import AdapterBlock
from router.settings import Bool, Count, Fraction, LanguageCode, Span, Strict, Text


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

    model: Text = Field(description="A directory or a hub name.")
    device: Text = Field(default="cpu", description="Device that the library computes on.")


class PresidioSettings(Strict):
    """Recogniser adapter `presidio`: presidio-analyzer's English recognisers; needs `pip install 'lockgate[presidio]'`."""

    min_score: Fraction = Field(default=0.4, description="Least score of what it finds; at 0.5 it finds no telephone numbers.")
    chars: Count = Field(default=8192, description="Characters that it looks at; of a longer text `pii` is unknown.")


class SignalsConfig(Strict):
    """What is looked for in requests beside what always is."""

    recogniser: AdapterBlock | None = Field(
        default=None, description="One more recogniser of personal data beside the built-in one: `presidio`, with its settings."
    )


class EmbeddedEngine(Strict):
    """Policy engine adapter `embedded`: Rego in this process. It has no settings."""


class ClassifierConfig(Strict):
    """How request texts become intents, and how sure an answer must be. Intents may set their own thresholds."""

    encoder: AdapterBlock = Field(
        default=AdapterBlock(adapter="minilm"),
        description="The text encoder: `minilm`, `onnx` or `sentence-transformers`, with that adapter's settings.",
    )
    static: Bool = Field(
        default=True,
        description="Let the static tier answer what it was found to answer as well as the encoder, in tens of microseconds.",
    )
    min_confidence: Fraction = Field(default=0.7, description="Least calibrated confidence at which an intent is accepted.")
    max_error: Fraction | None = Field(
        default=None, description="Instead of `min_confidence`: the share of accepted decisions that may be wrong, such as `1%`."
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
    cache: int = Field(default=10_000, ge=0, description="Classifications that each worker remembers by their text.")


class PolicyConfig(Strict):
    """Which Rego decides, and in which engine."""

    engine: AdapterBlock = Field(
        default=AdapterBlock(adapter="embedded"),
        description="The policy engine: `embedded` evaluates Rego in this process.",
    )
    path: Text = Field(default="policies", description="Folder of policies, relative to the configuration file.")
    data: Text | None = Field(
        default=None, description="File with the data that the policies decide by; `data.yaml` in their folder where none is named."
    )
    deadline: Span = Field(default=0.05, description="Longest time for one evaluation; a late answer is a deny.")
