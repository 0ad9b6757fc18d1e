"""Configuration as YAML that is the same for the same workspace, under a header that says what it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from router.envoy.options import TESTED_WITH
from router.envoy.values import Json


class _Dumper(yaml.SafeDumper):
    """Without anchors: nobody who reads the file shall look for what an alias stands for."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def written(documents: Sequence[Json], comments: Sequence[str]) -> str:
    head = "".join(f"# {line}".rstrip() + "\n" for line in comments)
    bodies = (yaml.dump(each, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120) for each in documents)
    return head + "---\n".join(bodies)


def header(version: str, digest: str, command: str) -> list[str]:
    return [
        f"Written by `{command}` of Lockgate {version}; change the workspace, not this file.",
        f"configuration {digest}",
        f"tested with Envoy {TESTED_WITH}",
    ]
