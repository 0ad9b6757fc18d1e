"""A destination adapter of one setting, so that these tests depend on no real one."""

from __future__ import annotations

from pydantic import Field

from router.settings import Duration, Strict, Text


class Config(Strict):
    url: Text = Field(description="Where it is.")
    idle: Duration = Field(default=15.0, description="Longest pause.")
