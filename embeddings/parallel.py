from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import threadpool_limits

Job = TypeVar("Job")
Result = TypeVar("Result")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Linear algebra stays on the calling thread: it waits for nobody on a busy machine (25 times slower otherwise),
    and its sums, hence a model's digest, do not depend on the number of cores."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


def in_order(work: Callable[[Job], Result], jobs: Sequence[Job], progress: Callable[[int, int], None]) -> list[Result]:
    """The jobs' results in their order, one job a core at a time; `progress` gets done and total."""
    results: list[Result] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(work, jobs):
            results.append(result)
            progress(len(results), len(jobs))
    return results
