"""Values that are quickly made are those that dataclasses make."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field, replace
from inspect import signature
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import decision, ports
from router.quick import quickly_made


@dataclass(frozen=True, slots=True)
class Plain:
    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)
    fourth: int | None = None


@quickly_made
@dataclass(frozen=True, slots=True)
class Quick:
    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list)
    fourth: int | None = None


FIELDS: Any = st.fixed_dictionaries(
    {}, optional={"first": st.integers(), "second": st.text(), "third": st.lists(st.integers()), "fourth": st.none() | st.integers()}
)


@given(st.lists(st.integers() | st.text(), max_size=5), FIELDS)
def test_it_takes_what_the_dataclass_takes(given: list[Any], named: dict[str, Any]) -> None:
    """By place and by name, with its defaults; too many, too few or one twice are refused."""
    made = list[object]()
    for kind in (Plain, Quick):
        try:
            value = kind(*given, **named)
            made.append((value.first, value.second, value.third, value.fourth, repr(value).removeprefix(kind.__name__)))
        except TypeError as error:
            made.append(str(error).replace("Plain", "Quick"))
    assert made[0] == made[1]


def test_it_stays_frozen_and_slotted() -> None:
    made = Quick(1)
    with pytest.raises(FrozenInstanceError):
        made.second = "other"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del made.second
    with pytest.raises((AttributeError, TypeError)):
        made.fifth = 5  # type: ignore[attr-defined]
    assert replace(made, second="other") == Quick(1, "other")
    assert hash(Quick(1, third=())) == hash(Quick(1, third=()))  # type: ignore[arg-type]


def test_each_gets_a_default_of_its_own() -> None:
    assert Quick(1).third is not Quick(1).third


def test_what_has_a_way_of_its_own_is_refused() -> None:
    """Rather than made without it."""

    @dataclass(frozen=True, slots=True)
    class Checked:
        first: int

        def __post_init__(self) -> None:
            raise ValueError

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Named:
        first: int

    @dataclass(frozen=True)
    class Unslotted:
        first: int

    for kind in (Checked, Named, Unslotted):
        with pytest.raises(TypeError, match="way of its own"):
            quickly_made(kind)


@pytest.mark.parametrize("kind", [Quick, decision.Request, decision.Decision, decision.Classification, ports.Entry, ports.Delivery])
def test_it_looks_as_before(kind: Any) -> None:
    parameters = signature(kind).parameters
    assert list(parameters) == list(kind.__slots__)
    assert all(each.annotation is not each.empty for each in parameters.values())
