from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from router.config.identity import SecureUrl
from router.settings import Span, Strict, Text

EVERY = "Longest time that a new record waits for its copy. For Parquet also how often at most a file is begun."


class ParquetProjection(Strict):
    """Parquet files by day and range of records (extra `parquet`)."""

    adapter: Literal["parquet"] = Field(description="`parquet`.")
    directory: Text = Field(description="Directory that holds nothing else, relative to the configuration file.")
    every: Span = Field(default=60.0, description=EVERY)


class DuckdbProjection(Strict):
    """A DuckDB file (extra `duckdb`)."""

    adapter: Literal["duckdb"] = Field(description="`duckdb`.")
    file: Text = Field(description="Path, relative to the configuration file.")
    every: Span = Field(default=60.0, description=EVERY)


class OtlpProjection(Strict):
    """Log records for an OTLP/HTTP collector, each at least once."""

    adapter: Literal["otlp"] = Field(description="`otlp`.")
    url: SecureUrl = Field(description="Base URL of the collector. `OTEL_EXPORTER_OTLP_HEADERS` can carry its credential.")
    every: Span = Field(default=5.0, description=EVERY)


Projection = Annotated[ParquetProjection | DuckdbProjection | OtlpProjection, Field(discriminator="adapter")]
