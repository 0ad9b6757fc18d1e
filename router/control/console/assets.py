"""What pages load. Their address holds the digest of all of them, so a browser may keep each for good, and never shows an old one."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from fastapi import Path as InPath
from fastapi import Response

from router.control.guarded import guarded_router, needs
from router.control.permissions import Permission
from router.errors import RefusedError

router = guarded_router()
FOLDER = Path(__file__).parent / "static"
KEPT = "private, max-age=31536000, immutable"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
FILES: Mapping[str, bytes] = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES}
VERSION = sha256(b"".join(name.encode() + content for name, content in FILES.items())).hexdigest()[:16]


@router.get("/console/static/{version}/{name}", include_in_schema=False, **needs(Permission.PUBLIC))
async def asset(version: Annotated[str, InPath(max_length=16)], name: Annotated[str, InPath(max_length=64)]) -> Response:
    """The same for everybody; says nothing of the installation but which release it is of."""
    if name not in FILES:
        raise RefusedError("There is no such file.", "not_found", 404)
    headers = {"cache-control": KEPT} if version == VERSION else {}
    return Response(FILES[name], headers=headers, media_type=TYPES[Path(name).suffix])
