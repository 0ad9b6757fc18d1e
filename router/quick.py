"""Values that are made dozens of times a request, quicker.

What `dataclass(frozen=True)` makes sets each field by `object.__setattr__`, which looks the field up by its name again. The constructor
here calls the fields' own descriptors, which know their places: half the time, for values that are as frozen as before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


def quickly_made(cls: type[T]) -> type[T]:
    """Goes above `@dataclass(frozen=True, slots=True)`. Raises TypeError for what it does not know."""
    own: tuple[Field[Any], ...] = fields(cls)  # type: ignore[arg-type]  # a dataclass, or it raises TypeError
    if hasattr(cls, "__post_init__") or not all(map(partial(_is_plain, cls), own)):
        raise TypeError(f"{cls.__name__} is made in a way of its own")
    names: dict[str, Any] = {f"set_{each.name}": cls.__dict__[each.name].__set__ for each in own}
    names |= {f"default_{each.name}": each.default for each in own} | {f"make_{each.name}": each.default_factory for each in own}
    parameters = ", ".join(["self", *(f"{each.name}{_default(each)}" for each in own)])
    body = "\n".join(f"    set_{each.name}(self, {_value(each)})" for each in own)
    exec(f"def __init__({parameters}):\n{body or '    pass'}\n", names)  # noqa: S102  # of names in our own code, as `dataclass` does it
    made: Callable[..., None] = names["__init__"]
    before = cls.__init__
    made.__qualname__, made.__module__, made.__annotations__ = before.__qualname__, cls.__module__, before.__annotations__
    cls.__init__ = made  # type: ignore[method-assign]
    return cls


def _is_plain(cls: type, field: Field[Any]) -> bool:
    return field.init and not field.kw_only and hasattr(cls.__dict__.get(field.name), "__set__")


def _default(field: Field[Any]) -> str:
    return "" if field.default is MISSING and field.default_factory is MISSING else f"=default_{field.name}"


def _value(field: Field[Any]) -> str:
    """What has a factory has `MISSING` for its default."""
    if field.default_factory is MISSING:
        return field.name
    return f"make_{field.name}() if {field.name} is default_{field.name} else {field.name}"
