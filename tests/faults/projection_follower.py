"""A process that brings a projection up to a ledger in small batches, again and again from the beginning, until it is killed.

Run as `python -m tests.faults.projection_follower FOLDER KIND`; prints a line for each batch.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from router.audit.copies.projecting import step
from tests.contract.test_projections import duck, parquet
from tests.unit.audit.ledgers import reader

MAKERS: dict[str, Any] = {"parquet": parquet, "duckdb": duck}


def main(folder: Path, kind: str) -> None:
    projection = MAKERS[kind](folder)
    projection.batch = 3
    with closing(reader(folder)) as source:
        while True:
            complete, size = step(source, projection)
            print(complete, flush=True)
            if complete == size:
                projection.reset()
                print("reset", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
