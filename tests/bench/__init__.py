"""Measured as a worker runs: numeric libraries get one thread. They read this when they are first imported, so it stands here."""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
