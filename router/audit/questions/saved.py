"""Questions that are kept with the workspace, in `audit-queries.yaml`: reviewed like any file, checked before they are asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, model_validator

from router.audit.questions.columns import COLUMNS, NS, column
from router.audit.questions.conditions import Condition
from router.audit.questions.query import Query, by_default
from router.audit.questions.stats import Grouping, grouping
from router.audit.questions.where import Parameters, WhereError, parameter_names, where
from router.errors import ConfigError
from router.faults import suggestion
from router.settings import Name, Span, Strict, Text, Texts
from router.validation import validate
from router.yaml_source import read_yaml

FILE = "audit-queries.yaml"
MAX_BYTES = 1 << 20


class Saved(Strict):
    """A question with the condition that answers it, or `instead`: the command that does."""

    question: Text
    where: Text | None = None
    parameters: Mapping[Name, Text] = Field(default={})
    defaults: Mapping[Name, Text] = Field(default={})
    columns: Texts = ()
    by: Texts = ()
    bucket: Span | None = None
    instead: Text | None = None

    @model_validator(mode="after")
    def _one_answer(self) -> Saved:
        if (self.where is None) == (self.instead is None):
            raise ValueError("needs either 'where' or 'instead'")
        if self.where is not None:
            self._check(self.where)
        return self

    @property
    def aggregated(self) -> bool:
        return bool(self.by) or self.bucket is not None

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns that the answer shows; the usual ones where there are none."""
        return tuple(found.name for name in self.columns if (found := column(name)) is not None)

    def grouping(self) -> Grouping:
        return grouping(self.by, None if self.bucket is None else int(self.bucket * NS))

    def condition(self, given: Parameters) -> Condition:
        """Raises WhereError."""
        for name in given:
            if name not in self.parameters:
                raise WhereError(f"The question has no parameter '{name}'.{suggestion(name, self.parameters)}")
        values = {**self.defaults, **given}
        for name in self.parameters:
            if name not in values:
                raise WhereError(f"The question needs the parameter '{name}': {self.parameters[name]}.")
        return where(str(self.where), values)

    def query(self, condition: Condition) -> Query:
        """Only decisions, where the condition does not say which kind of record."""
        return by_default(Query(where=condition))

    def _check(self, text: str) -> None:
        try:
            wanted, told = parameter_names(text), set(self.parameters)
            self.grouping()
            for name in self.columns:
                if column(name) is None:
                    raise WhereError(f"There is no column '{name}'.{suggestion(name, COLUMNS)}")
        except WhereError as error:
            raise ValueError(f"is wrong: {str(error).rstrip('.')}") from None
        for name in sorted(wanted ^ told):
            raise ValueError(f"has a parameter '{name}' that {'parameters does not tell of' if name in wanted else 'where does not use'}")
        for name in sorted(set(self.defaults) - told):
            raise ValueError(f"has a default for '{name}', which is no parameter")


class _File(Strict):
    version: int = Field(ge=1, le=1)
    queries: Mapping[Name, Saved]


def saved_queries(path: Path, called: str = "") -> Mapping[str, Saved]:
    """Those of the file; none where there is no file. Raises ConfigError with every fault; they name the file as it is `called`."""
    name = called or str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{name}:1: The file cannot be read: {error.strerror}.") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{name}:1: The file is larger than {MAX_BYTES} bytes.")
    document, faults = read_yaml(name, data, None)
    if document is None or faults:
        raise ConfigError(*map(str, faults))
    found, faults = validate(_File, document, value={} if document.value is None else document.value)
    if found is None:
        raise ConfigError(*map(str, sorted(set(faults))))
    return found.queries


def chosen(queries: Mapping[str, Saved], name: str) -> Saved:
    """Raises WhereError."""
    if name not in queries:
        raise WhereError(f"There is no saved query '{name}'.{suggestion(name, queries)}")
    return queries[name]
