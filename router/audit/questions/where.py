"""The words of SQL's WHERE, read into a condition. Nothing of the text goes further: columns and operators are looked up, values become
values of the column's kind, and what is not in this grammar is a mistake with its place.

    condition  = and {OR and}        and = not {AND not}        not = [NOT] (test | "(" condition ")")
    test       = column ( (= | <> | != | < | <= | > | >=) value | [NOT] IN "(" value {"," value} ")"
                        | [NOT] BETWEEN value AND value | [NOT] LIKE value | IS [NOT] NULL )
    value      = 'text' | number | TRUE | FALSE | :parameter
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from router.audit.questions.columns import COLUMNS, LARGEST, LEVELS, MILLIONTHS, NS, RECORD, WORDLY, Column, Kind, column
from router.audit.questions.conditions import Among, Compare, Condition, Every, Like, Null, Some, Value, negated
from router.errors import AuditError
from router.faults import suggestion
from router.settings import duration

MAX_LENGTH, MAX_DEPTH, MAX_TESTS, MAX_VALUES = 4000, 16, 64, 500
LATEST = 253_402_300_800 * NS  # the year 10000
Parameters = Mapping[str, str]
Literal = str | Decimal | bool

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<parameter>:[A-Za-z_]\w*)"
    r"|(?P<sign><=|>=|<>|!=|[=<>(),]))",
    re.ASCII,
)
_KEYWORDS = frozenset({"AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "IS", "NULL", "TRUE", "FALSE"})
_COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">="})


class WhereError(AuditError):
    """One sentence with the place of the mistake."""

    code = "audit_query_invalid"


@dataclass(frozen=True, slots=True)
class _Token:
    """`kind`: text, number, name, parameter, sign, keyword, end. `at` counts characters from 1."""

    kind: str
    text: str
    at: int


def where(text: str, parameters: Parameters | None = None, now_ns: Callable[[], int] = time.time_ns) -> Condition:
    """Raises WhereError. `:name` stands for `parameters[name]`, bound as one value of the kind of the column beside it."""
    if len(text) > MAX_LENGTH:
        raise WhereError(f"The condition has {len(text)} characters; {MAX_LENGTH} are the most.")
    return _Parser(_tokens(text), {} if parameters is None else parameters, now_ns).whole()


def parameter_names(text: str) -> frozenset[str]:
    """Those that the condition wants; all but their values is checked. Raises WhereError."""
    if len(text) > MAX_LENGTH:
        raise WhereError(f"The condition has {len(text)} characters; {MAX_LENGTH} are the most.")
    tokens = _tokens(text)
    _Parser(tokens, None, time.time_ns).whole()
    return frozenset(token.text[1:] for token in tokens if token.kind == "parameter")


def moment(text: str, now_ns: int) -> int:
    """A date, a time (UTC unless it says otherwise), or how long ago: 24h, 7d. Unix nanoseconds. Raises ValueError."""
    try:
        return now_ns - int(duration(text) * NS)
    except ValueError:
        pass
    written = re.fullmatch(r"(.*\d)\.(\d{7,9})(Z|[+-]\d\d:\d\d)?", text)  # finer than Python's own six places
    found = datetime.fromisoformat(f"{written[1]}{written[3] or ''}" if written else text)
    whole = found if found.tzinfo else found.replace(tzinfo=UTC)
    return int(whole.timestamp()) * NS + (int(written[2].ljust(9, "0")) if written else whole.microsecond * 1000)


def _tokens(text: str) -> list[_Token]:
    found, at, end = list[_Token](), 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            what = "this text has no closing quote" if text[at] == "'" else f"{text[at]!r} belongs to no condition"
            raise _mistake(at + 1, what)
        kind, written = str(match.lastgroup), match[str(match.lastgroup)]
        if kind == "name" and written.upper() in _KEYWORDS:
            kind, written = "keyword", written.upper()
        found.append(_Token(kind, "<>" if written == "!=" else written, match.start(str(match.lastgroup)) + 1))
        at = match.end()
    return [*found, _Token("end", "", end + 1)]


def _mistake(at: int, what: str) -> WhereError:
    return WhereError(f"In the condition, at character {at}: {what}{'' if what.endswith(('.', '?')) else '.'}")


class _Parser:
    """Without `parameters` each stands for a value that fits."""

    def __init__(self, tokens: list[_Token], parameters: Parameters | None, now_ns: Callable[[], int]) -> None:
        self._tokens = tokens
        self._place = 0
        self._parameters = parameters
        self._now = now_ns
        self._depth = self._tests = 0

    def whole(self) -> Condition:
        found = self._either()
        if self._next.kind != "end":
            raise _mistake(self._next.at, f"{self._next.text!r} is not expected here")
        return found

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _take(self) -> _Token:
        token = self._next
        self._place += token.kind != "end"
        return token

    def _taken(self, *texts: str) -> bool:
        """Takes these tokens if they come next."""
        ahead = self._tokens[self._place : self._place + len(texts)]
        if [token.text for token in ahead if token.kind in ("keyword", "sign")] != list(texts):
            return False
        self._place += len(texts)
        return True

    def _want(self, text: str) -> None:
        if not self._taken(text):
            raise _mistake(self._next.at, f"{text} is missing here")

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._taken("OR"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _both(self) -> Condition:
        parts = [self._not()]
        while self._taken("AND"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _not(self) -> Condition:
        at = self._next.at
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _mistake(at, f"more than {MAX_DEPTH} conditions stand inside each other")
        try:
            if self._taken("NOT"):
                return negated(self._not())
            if not self._taken("("):
                return self._test()
            inner = self._either()
            self._want(")")
            return inner
        finally:
            self._depth -= 1

    def _test(self) -> Condition:
        self._tests += 1
        if self._tests > MAX_TESTS:
            raise _mistake(self._next.at, f"a condition can have {MAX_TESTS} comparisons")
        asked = self._column()
        if self._taken("IS", "NOT", "NULL"):
            return Null(asked.name, wanted=False)
        if self._taken("IS", "NULL"):
            return Null(asked.name)
        wanted = not self._taken("NOT")
        if self._taken("IN"):
            return Among(asked.name, self._list(asked), wanted)
        if self._taken("LIKE"):
            return self._like(asked, wanted)
        if self._taken("BETWEEN"):
            return self._between(asked, wanted)
        return self._compare(asked, wanted)

    def _column(self) -> Column:
        token = self._take()
        if token.kind != "name":
            raise _mistake(token.at, f"a column is missing here{f', not {token.text!r}' if token.text else ''}")
        found = column(token.text)
        if found is None:
            raise _mistake(token.at, f"there is no column '{token.text}'.{suggestion(token.text, [*COLUMNS, RECORD.name])}")
        return found

    def _compare(self, asked: Column, wanted: bool) -> Condition:
        token = self._take()
        if not wanted or token.kind != "sign" or token.text not in _COMPARISONS:
            raise _mistake(token.at, f"{asked.name} must be followed by a comparison such as = or IN")
        return self._ordered(asked, token)

    def _ordered(self, asked: Column, token: _Token) -> Condition:
        value = self._value(asked)
        if token.text in ("=", "<>"):
            return Compare(asked.name, token.text, value)
        if asked.kind is Kind.LEVEL:
            return _levels(asked, token.text, str(value))
        if asked.kind in WORDLY or asked.kind in (Kind.ID, Kind.FLAG):
            raise _mistake(token.at, f"{asked.name} has no order, so {token.text} says nothing about it")
        return Compare(asked.name, token.text, value)

    def _between(self, asked: Column, wanted: bool) -> Condition:
        at = self._next.at
        low = self._ordered(asked, _Token("sign", ">=", at))
        self._want("AND")
        both = Every((low, self._ordered(asked, _Token("sign", "<=", at))))
        return both if wanted else negated(both)

    def _like(self, asked: Column, wanted: bool) -> Condition:
        token = self._next
        if asked.kind not in WORDLY:
            raise _mistake(token.at, f"{asked.name} is no word, so LIKE says nothing about it")
        value = self._literal()
        if not isinstance(value, str):
            raise _mistake(token.at, "LIKE needs a text such as 'payment.%'")
        return Like(asked.name, value, wanted)

    def _list(self, asked: Column) -> tuple[Value, ...]:
        self._want("(")
        values = [self._value(asked)]
        while self._taken(","):
            values.append(self._value(asked))
        if len(values) > MAX_VALUES:
            raise _mistake(self._next.at, f"a list can have {MAX_VALUES} values")
        self._want(")")
        return tuple(values)

    def _value(self, asked: Column) -> Value:
        token = self._next
        if token.kind == "parameter" and self._parameters is None:
            self._take()
            return LEVELS[0] if asked.kind is Kind.LEVEL else "" if asked.kind in WORDLY or asked.kind is Kind.ID else 0
        literal = self._literal()
        try:
            return _kept(asked, literal, self._now)
        except ValueError as error:
            raise _mistake(token.at, f"{asked.name} {error}") from None

    def _literal(self) -> Literal:
        token = self._take()
        match token.kind:
            case "text":
                return token.text[1:-1].replace("''", "'")
            case "number":
                return Decimal(token.text)
            case "keyword" if token.text in ("TRUE", "FALSE"):
                return token.text == "TRUE"
            case "parameter":
                return self._parameter(token)
            case "keyword" if token.text == "NULL":
                raise _mistake(token.at, "nothing equals NULL; write IS NULL or IS NOT NULL")
        hint = f"; texts stand in quotes: '{token.text}'" if token.kind == "name" else ""
        raise _mistake(token.at, f"a value is missing here{hint}")

    def _parameter(self, token: _Token) -> str:
        name = token.text[1:]
        if self._parameters is None:
            return ""
        if name not in self._parameters:
            raise _mistake(token.at, f"the parameter '{name}' has no value")
        return self._parameters[name]


def _levels(asked: Column, operator: str, level: str) -> Condition:
    at = LEVELS.index(level)
    chosen = {"<": LEVELS[:at], "<=": LEVELS[: at + 1], ">": LEVELS[at + 1 :], ">=": LEVELS[at:]}[operator]
    return Among(asked.name, chosen)


def _kept(asked: Column, literal: Literal, now_ns: Callable[[], int]) -> Value:
    """The literal as the column's kind keeps it; a parameter comes as text. Raises ValueError that ends the sentence about the column."""
    match asked.kind:
        case Kind.SCORE | Kind.COUNT:
            return _number(literal, MILLIONTHS if asked.kind is Kind.SCORE else 1)
        case Kind.FLAG:
            return _flag(literal)
        case Kind.DURATION:
            return _number(literal if isinstance(literal, Decimal) else _span(literal), NS)
        case Kind.TIME:
            return _time(literal, now_ns)
    if not isinstance(literal, str):
        raise ValueError("is compared with a text in quotes")
    if asked.kind is Kind.LEVEL and literal not in LEVELS:
        raise ValueError(f"is one of {', '.join(LEVELS)}")
    return literal


def _number(literal: Literal, scale: int) -> int:
    if isinstance(literal, str) and re.fullmatch(r"-?\d+(\.\d+)?", literal, re.ASCII):
        literal = Decimal(literal)
    if not isinstance(literal, Decimal) or abs(literal) * scale > LARGEST:
        raise ValueError("is compared with a number")
    scaled = literal * scale
    if scaled != int(scaled):
        raise ValueError("is kept with fewer places than that" if scale > 1 else "is a whole number")
    return int(scaled)


def _flag(literal: Literal) -> int:
    named = {"true": 1, "false": 0}
    if isinstance(literal, bool):
        return int(literal)
    if isinstance(literal, str) and literal.lower() in named:
        return named[literal.lower()]
    raise ValueError("is compared with true or false")


def _span(literal: Literal) -> Decimal:
    try:
        return Decimal(min(round(duration(literal) * NS), LARGEST)) / NS
    except (ValueError, OverflowError):
        raise ValueError("is compared with a duration such as '250ms' or '4h', or a number of seconds") from None


def _time(literal: Literal, now_ns: Callable[[], int]) -> int:
    try:
        if isinstance(literal, str) and 0 <= (found := moment(literal, now_ns())) < LATEST:
            return found
    except (ValueError, OverflowError):
        pass
    raise ValueError("is compared with a time such as '2026-11-24T09:45' or how long ago: '24h'")
