"""Vectors by encoders that were tuned for the texts: one for all of them, and one for each part of the cross-validation, which has not seen
what it is judged by. Without the latter a tuned encoder's confidence would be that of a pupil who marks his own work.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty

from embeddings.errors import EmbeddingsError
from embeddings.fine_tuning import job as work
from embeddings.fine_tuning.job import Done, Job
from embeddings.fine_tuning.learning import Settings, steps
from embeddings.fine_tuning.published import published_model
from embeddings.folds import FOLDS
from embeddings.material import Encoded, Lesson, Texts
from embeddings.onnx_encoder import OnnxEncoder
from embeddings.ports import Encoder, Progress
from embeddings.scope_training import lesson_rows

# Texts seen by all trainings together: about fifteen minutes of one core, and the number of folds follows from it.
BUDGET = 150_000
# Texts that one training sees: many examples need to be seen less often.
SEEN = 75_000
EPOCHS = (5, 10)
# Steps that the fewest texts get, by smaller batches.
STEPS = 150
BATCH = (8, 64)


class Tuner:
    """An Embedding. `base` is the directory of the encoder to start from, `examples` the digest of the training set, and the encoder for
    everything goes below `directory`. Raises EmbeddingsError where something that fine-tuning needs is missing."""

    folds: int
    settings: Settings

    def __init__(self, base: Path, directory: Path, examples: str, count: int) -> None:
        self._base = base
        self._directory = directory
        self._examples = examples
        self._source = published_model(base)
        self.settings = settings_for(count)
        self.folds = folds_for(count)
        self.written: Path | None = None

    def encode(self, texts: Texts, lessons: Sequence[Lesson], progress: Progress) -> tuple[Encoder, list[Encoded]]:
        with tempfile.TemporaryDirectory(prefix="lockgate-tuning-") as aside:
            jobs = [self._job(number, texts, lesson, Path(aside)) for number, lesson in enumerate(lessons)]
            done = self._run(jobs, progress)
        self.written = done[0].directory
        count = len(texts.texts)
        return OnnxEncoder(done[0].directory), [Encoded(each.vectors[:count], each.vectors[count:]) for each in done]

    def _job(self, number: int, texts: Texts, lesson: Lesson, aside: Path) -> Job:
        rows, labels = lesson_rows(texts, lesson)
        every = (*texts.texts, *texts.background)
        return Job(
            number=number,
            texts=tuple(every[row] for row in rows.tolist()),
            labels=tuple(labels.tolist()),
            encode=every,
            settings=self.settings,
            examples=self._examples,
            directory=self._directory if number == 0 else aside / str(number),
        )

    def _run(self, jobs: Sequence[Job], progress: Progress) -> list[Done]:
        context = get_context("spawn")
        told: Queue[tuple[int, int]] = context.Queue()
        total = sum(steps(len(job.texts), job.settings) for job in jobs)
        with ProcessPoolExecutor(
            min(os.cpu_count() or 1, len(jobs)), mp_context=context, initializer=work.prepare, initargs=(self._source, self._base, told)
        ) as pool:
            futures = [pool.submit(work.run, job) for job in jobs]
            try:
                _watch(futures, told, lambda done: progress("fine-tune", done, total))
                return [future.result() for future in futures]
            except BrokenProcessPool as error:
                raise EmbeddingsError("fine_tune_died", "A process that fine-tunes ended early; it may have run out of memory.") from error
            finally:
                pool.shutdown(cancel_futures=True)


def epochs_for(texts: int) -> int:
    return min(max(round(SEEN / texts), EPOCHS[0]), EPOCHS[1])


def settings_for(texts: int) -> Settings:
    epochs = epochs_for(texts)
    return Settings(epochs=epochs, batch=min(max(texts * epochs // STEPS, BATCH[0]), BATCH[1]))


def folds_for(texts: int) -> int:
    """Two trainings a fold (one without some examples, one without some intents) beside the one that is kept."""
    trainings = BUDGET // (texts * epochs_for(texts))
    return min(max((trainings - 1) // 2, 1), FOLDS)


def _watch(futures: Sequence[Future[Done]], told: Queue[tuple[int, int]], progress: Callable[[int], None]) -> None:
    """Until all are done or one has failed."""
    done: dict[int, int] = {}
    waiting = set(futures)
    while waiting:
        finished, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
        try:
            while True:
                number, count = told.get_nowait()
                done[number] = count
        except Empty:
            progress(sum(done.values()))
        if any(future.exception() is not None for future in finished):
            return
