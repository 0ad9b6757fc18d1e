"""HTML and SVG as trees: what is text in them is escaped when they are written, whoever wrote it."""

from __future__ import annotations

from xml.etree.ElementTree import Element, tostring

Child = Element | str


def e(tag: str, attributes: dict[str, object] | None = None, *children: Child) -> Element:
    """An element. Attributes' numbers are written with two decimals at most."""
    made = Element(tag, {name: _written(value) for name, value in (attributes or {}).items()})
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif last is None:
            made.text = (made.text or "") + child
        else:
            last.tail = (last.tail or "") + child
    return made


def html(root: Element) -> str:
    return "<!doctype html>\n" + tostring(root, encoding="unicode", method="html") + "\n"


def svg(root: Element) -> str:
    return tostring(root, encoding="unicode") + "\n"


def _written(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
