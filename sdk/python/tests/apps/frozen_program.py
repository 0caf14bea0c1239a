"""A program as PyInstaller makes it, which multiprocessing has started as a worker."""

from __future__ import annotations

import multiprocessing
import sys

import pillion


def work() -> None:
    # PyInstaller's hook does the work of the worker, and ends the process, if the arguments are those of a worker.
    if sys.argv[1:2] == ["--multiprocessing-fork"]:
        print("app: working", file=sys.stderr, flush=True)
        sys.exit(0)


sys.frozen = True  # type: ignore[attr-defined]
multiprocessing.freeze_support = work
pillion.serve("probe:app")
