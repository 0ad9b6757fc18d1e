"""A process that puts cases to an engine, one JSON line each way: a case may end the process, or never end."""

from __future__ import annotations

import sys
from importlib import import_module

import orjson


def main(target: str) -> None:
    """`target` is `module:function`, from a case to what the engine made of it."""
    module, _, name = target.partition(":")
    answer = getattr(import_module(module), name)
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(orjson.dumps(answer(orjson.loads(line)), default=str) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
