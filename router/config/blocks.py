"""Parts that several blocks of configuration share."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_serializer, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from router.settings import Name, Settings, Strict


class AdapterBlock(BaseModel):
    """`adapter` and, beside it, that adapter's own settings, which its own strict `Config` validates."""

    model_config = ConfigDict(extra="allow", frozen=True)

    adapter: Name = Field(description="Which adapter; the other keys of the block are its own settings.")

    @property
    def settings(self) -> Settings:
        return self.model_extra or {}

    def __repr__(self) -> str:
        return f"AdapterBlock(adapter={self.adapter!r})"

    __str__ = __repr__

    @model_serializer
    def _dump(self) -> dict[str, str]:
        """Without the settings: only the adapter's own model knows which of them are secret."""
        return {"adapter": self.adapter}


class OnAbstain(Strict):
    """Written `clarify`, `deny` or `{route: NAME}`."""

    action: Literal["clarify", "deny", "route"] = "clarify"
    route: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: object) -> object:
        if isinstance(value, OnAbstain) or value == {}:
            return value
        if isinstance(value, str) and value in ("clarify", "deny"):
            return {"action": value}
        if isinstance(value, dict) and list(value) == ["route"]:
            return {"action": "route", "route": value["route"]}
        raise ValueError("must be clarify, deny or {route: NAME}")

    @model_serializer
    def _dump(self) -> Any:
        return {"route": self.route} if self.route else self.action

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        route = {"type": "object", "properties": {"route": {"type": "string"}}, "required": ["route"], "additionalProperties": False}
        return {"anyOf": [{"enum": ["clarify", "deny"]}, route]}
