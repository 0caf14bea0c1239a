"""Rule 2 of the protocol: says how far the sidecar is."""

from __future__ import annotations

import os
import re
import sys
from typing import Final

#: Bytes of UTF-8 that the words have at most.
_LIMIT: Final = 256
_SPACES: Final = re.compile(r"[\x00-\x20\x7f-\x9f]+")


def progress(words: str) -> None:
    """Says how far the sidecar is, such as ``loading model 42%``, in a line on stdout.

    The app, its page and ``pillion run`` show it. Empty words withdraw the last ones. Call it at any time, even before
    `serve`, from any thread: where the declaration has ``readyTimeoutMaxMs``, each call gives the start more time.

    The host keeps 256 bytes of the words, and shows the last ones at most four times a second. Control characters become
    spaces. Returns after the line is written; raises `OSError` if stdout is closed.
    """
    if sys.__stdout__ is None:
        # Descriptor 1 may be anything by now, even the listener.
        raise OSError("cannot write the progress: stdout was closed when the program started")
    # What the app has printed comes first.
    if sys.stdout is not None:
        sys.stdout.flush()
    line = progress_line(words)
    while line:
        line = line[os.write(1, line) :]


def progress_line(words: str) -> bytes:
    """The line that says these words."""
    clean = _SPACES.sub(" ", words).strip(" ").encode(errors="replace")
    # A character that is cut is dropped.
    cut = clean[:_LIMIT].decode(errors="ignore").rstrip(" ")
    return f"BACKEND_STATUS:{cut}\n".encode()
