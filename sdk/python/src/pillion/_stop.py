"""Rule 3 of the protocol: a signal or the end of stdin asks the sidecar to stop; a deadline ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import stat
import sys
import threading
import time
from types import FrameType

#: How long clean-up and threads may take after the requests had their time, in seconds.
CLEAN_UP_TIME = 0.5

_SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform == "win32":
    _SIGNALS.append(signal.SIGBREAK)


class Stop:
    """The request to stop this process. Create it in the main thread.

    The first cause counts: SIGTERM, SIGINT, or the end of the lifeline. After it the process ends at the latest when
    `grace` and `CLEAN_UP_TIME` are over, even if a thread of the app still runs. The second signal ends it at once, unless
    the lifeline has ended: the signals are then those of a host, which gives the process its time, and they come twice
    through a wrapper that passes them on, such as the bootloader of PyInstaller or ``uv run``.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._loop: asyncio.AbstractEventLoop | None = None
        self._requested: asyncio.Event | None = None
        self._cause: str | None = None
        self._lock = threading.Lock()
        # Before the pipe, which would become descriptor 0 if the program was started with a closed stdin.
        self._has_lifeline = has_lifeline = sys.__stdin__ is not None and is_lifeline(0)
        self._lifeline = 0
        if has_lifeline and sys.platform == "win32":
            # There a child that inherits a stdin from which a thread reads hangs: https://github.com/python/cpython/issues/78961
            self._lifeline = move_lifeline(0)
        # A signal handler may only write to it: a lock or a log message could wait for the interrupted code.
        self._causes, self._handler_end = os.pipe()
        for number in _SIGNALS:
            signal.signal(number, self._handle)
        threading.Thread(target=self._watch, name="pillion-stop", daemon=True).start()
        if has_lifeline:
            threading.Thread(target=self._watch_lifeline, name="pillion-lifeline", daemon=True).start()

    def attach(self) -> None:
        """Lets `wait` and `cause` work in the running event loop."""
        with self._lock:
            self._loop, self._requested = asyncio.get_running_loop(), asyncio.Event()
            if self._cause is not None:
                self._requested.set()

    @property
    def cause(self) -> str | None:
        """Why the sidecar has to stop, or None."""
        return self._cause

    async def wait(self) -> None:
        """Returns when the stop is requested."""
        if self._requested is None:
            raise RuntimeError("the server does not run")
        await self._requested.wait()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        # The default action of the system works even if every thread of Python hangs. A function in its place, and not
        # SIG_IGN, which a program that the clean-up starts would inherit.
        second = _do_nothing if self._has_lifeline and has_ended(self._lifeline) else signal.SIG_DFL
        for other in _SIGNALS:
            signal.signal(other, second)
        os.write(self._handler_end, b"%s\n" % signal.Signals(number).name.encode())

    def _watch(self) -> None:
        # A host asks in both ways at once, and one read may return both. The first one counts.
        cause = os.read(self._causes, 64).decode().partition("\n")[0]
        deadline = time.monotonic() + self._grace + CLEAN_UP_TIME
        with self._lock:
            self._cause = cause
            if self._loop is not None and self._requested is not None:
                # It fails if the loop is closed: the server has ended by itself.
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._requested.set)
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(left)
        os.write(
            2,
            b"pillion: stopped: the grace period is over, and a thread or the clean-up of the app still ran\n",
        )
        os._exit(1)

    def _watch_lifeline(self) -> None:
        read_to_end(self._lifeline)
        os.write(self._handler_end, b"the host closed stdin\n")


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    pass


def has_ended(descriptor: int) -> bool:
    """Whether the other end of a pipe or a socket is closed. Does not wait for the thread that reads from it."""
    if sys.platform == "win32":
        return False
    poll = select.poll()
    # POLLHUP is always reported (poll(2)), except on macOS, which looks at no descriptor without an event that concerns
    # reading (`poll_nocancel` in XNU's `sys_generic.c`).
    poll.register(descriptor, select.POLLHUP)
    return bool(poll.poll(0))


def is_lifeline(descriptor: int) -> bool:
    """True for pipes and sockets. A terminal or a file ends for other reasons, and ``/dev/null`` ends at once."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def move_lifeline(descriptor: int) -> int:
    """Returns a private duplicate, which child processes do not inherit. ``descriptor`` is an empty input from then on."""
    private = os.dup(descriptor)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, descriptor)
    os.close(empty)
    return private


def read_to_end(descriptor: int) -> None:
    """Reads and ignores all bytes. An error counts as the end."""
    while True:
        try:
            if not os.read(descriptor, 1024):
                return
        except BlockingIOError:
            # Another holder has made the pipe non-blocking.
            select.select([descriptor], [], [])
        except OSError:
            return
