"""Settings of an `llm` destination. Nothing here needs litellm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from adapters.messaging.config import MessagingConfig
from router.config.judgement import ModelServer
from router.settings import Count, Span, Strict, Text


def constant(value: str) -> str:
    if "{{" in value or "{%" in value:
        raise ValueError("must have no expressions: what a request says is data, and goes to the model as the user's message (`input`)")
    return value


class Budget(Strict):
    """Tokens a day (UTC), of questions and answers, on this node, or on all that share state. What a call may cost is taken before it; what
    it did cost counts then."""

    per_day: Count | None = Field(default=None, description="Of all requests.")
    per_subject: Count | None = Field(default=None, description="Of each caller.")


class Answer(Strict):
    """What an answer must be; else it is refused (`answer_refused`)."""

    most_chars: Count = Field(default=20_000, description="Longest answer.")
    json_schema: Mapping[str, Any] | None = Field(
        default=None, description="JSON Schema that it must fit. The answer is then JSON, and no longer text."
    )
    response_format: Literal["json_schema", "json_object", "none"] = Field(
        default="json_schema", description="How the server is held to the schema. The answer is checked all the same."
    )
    sensitive: Literal["mask", "refuse", "keep"] = Field(
        default="mask", description="What is done about personal data and credentials that Lockgate's own recognisers find in it."
    )


class Config(MessagingConfig, ModelServer):
    """Beside what every destination for messages has. A request is one question, without a history; tools are not offered."""

    system: Annotated[Text, AfterValidator(constant)] = Field(description="Instructions: these words, and nothing of a request.")
    max_tokens: Annotated[int, Field(ge=1, le=200_000)] = Field(
        default=1024, description="Most tokens of an answer; one that is cut is refused."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] = Field(default=0.0, description="How much chance there is in an answer.")
    timeout: Span = Field(default=60.0, description="Longest time for one request, its retries included.")
    budget: Budget = Field(default=Budget(), description="How much it may use.")
    answer: Answer = Field(default=Answer(), description="What an answer must be.")

    @model_validator(mode="after")
    def _formed(self) -> Self:
        if self.answer.json_schema is None and "response_format" in self.answer.model_fields_set:
            raise ValueError("has 'answer.response_format' without 'answer.json_schema'")
        return self

    def unusable(self, root: Path) -> Iterator[str]:
        """What is wrong with the schema of answers."""
        if self.answer.json_schema is not None:
            fault = import_module("adapters.json_schema").fault_of(self.answer.json_schema)  # needs the extra
            if fault is not None:
                yield f"The answer's 'json_schema' is none: {fault}."
