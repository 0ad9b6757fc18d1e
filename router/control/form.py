"""What a request brings as files: the parts of a form (RFC 7578), or one file as the whole body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from email.message import Message

from router.errors import RefusedError

ARCHIVES = frozenset({"application/gzip", "application/x-gzip", "application/octet-stream", "application/vnd.openpolicyagent.bundles"})
MOST_PARTS = 8
MOST_HEADERS = 4096


def files(content_type: str | None, body: bytes, alone: str, names: frozenset[str]) -> Mapping[str, bytes]:
    """By name: of a form each of `names` at most once, of another body the one that is called `alone`. Raises RefusedError."""
    header = _header(content_type or "")
    kind = header.get_content_type()
    if kind in ARCHIVES:
        return {alone: body}
    boundary = header.get_boundary()
    if kind != "multipart/form-data" or not boundary or len(boundary) > 70 or not boundary.isascii():
        told = f"Send a form (multipart/form-data) with {', '.join(sorted(names))}, or '{alone}' alone as application/gzip."
        raise RefusedError(told, "policy_media_type", 415)
    found: dict[str, bytes] = {}
    for name, content in _parts(body, boundary.encode()):
        if name not in names or name in found:
            raise RefusedError(f"The form may have each of {', '.join(sorted(names))} once, and nothing else.", "request_invalid", 422)
        found[name] = content
    return found


def field(content_type: str, body: bytes, name: str) -> str:
    """The text of the first field of that name in a form with files; empty where there is none. Raises RefusedError."""
    boundary = _header(content_type).get_boundary()
    if not boundary or len(boundary) > 70 or not boundary.isascii():
        raise _broken()
    return next((content.decode("utf-8", "replace") for each, content in _parts(body, boundary.encode()) if each == name), "")


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    delimiter = b"\r\n--" + boundary
    pieces = (b"\r\n" + body).split(delimiter)
    if len(pieces) < 3 or pieces[0].strip() or not pieces[-1].startswith(b"--") or len(pieces) > MOST_PARTS + 2:
        raise _broken()
    for piece in pieces[1:-1]:
        head, separator, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not piece.startswith(b"\r\n") or not separator or len(head) > MOST_HEADERS:
            raise _broken()
        yield _name(head), content


def _name(head: bytes) -> str:
    for line in head.split(b"\r\n"):
        field, _, value = line.partition(b":")
        if field.strip().lower() == b"content-disposition":
            name = _header(value.strip().decode("latin-1")).get_param("name")
            if isinstance(name, str) and name:
                return name
    raise _broken()


def _header(value: str) -> Message:
    made = Message()
    made["content-type"] = "".join(each for each in value if each.isprintable())
    return made


def _broken() -> RefusedError:
    return RefusedError("The form is not one that RFC 7578 describes, or was cut off.", "request_invalid", 400)
