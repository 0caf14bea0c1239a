"""Takes the host's variables from the environment of this process, once, when the package is imported."""

from __future__ import annotations

import contextlib
import os
import sys

from .environment import (
    ALLOWED_ORIGINS,
    INSTANCE,
    LISTEN_FDNAMES,
    LISTEN_FDS,
    LISTEN_PID,
    PIPE,
    PORT,
    PROTOCOL,
    TOKEN,
    TOKEN_DIGITS,
)

#: The first descriptor that a host passes: sd_listen_fds(3).
LISTEN_FDS_START = 3


def take() -> dict[str, str]:
    """Returns the host's variables. Removes those that child processes must not inherit: the token and the listener.

    Marks the listener as close-on-exec, because another holder would keep the port open when no run serves it. Leaves a
    listener alone that is meant for another process.
    """
    names = [PROTOCOL, PORT, INSTANCE, TOKEN, ALLOWED_ORIGINS, PIPE]
    secret = [TOKEN, PIPE]
    if _has_listener():
        listener = [LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES]
        names += listener
        secret += listener
        # `serve` reports a descriptor that is not open.
        with contextlib.suppress(OSError):
            os.set_inheritable(LISTEN_FDS_START, False)
    variables = {name: os.environ[name] for name in names if name in os.environ}
    for name in secret:
        # Calls unsetenv(3), so that programs that C code starts do not inherit it either.
        os.environ.pop(name, None)
    if TOKEN in variables and sys.platform == "linux":
        # Without /proc, or without the right to write there, the token stays readable for this user's programs.
        with contextlib.suppress(OSError, ValueError):
            _overwrite_token()
    return variables


def _has_listener() -> bool:
    """Whether the host passes a listener to this process.

    The bootloader of a one-file program of PyInstaller runs the program in a child, and writes the child's id into
    ``LISTEN_PID``, whatever the variable said (``pyi_utils_posix.c``). The host has named the bootloader.
    """
    if os.environ.get(LISTEN_PID) != str(os.getpid()):
        return False
    parent = os.getppid()
    if not getattr(sys, "frozen", False):
        return True
    try:
        if os.readlink(f"/proc/{parent}/exe") != os.readlink("/proc/self/exe"):
            return True
        with open(f"/proc/{parent}/environ", "rb") as block:
            return f"{LISTEN_PID}={parent}".encode() in block.read().split(b"\0")
    except OSError:
        # Only Linux has these files.
        return True


def _overwrite_token() -> None:
    """Overwrites the token in the initial environment block of this process.

    ``/proc/PID/environ`` keeps showing that memory after the program has unset a variable (proc_pid_environ(5)). The
    variable is unset, so libc has no pointer to the digits. The copies that Python made are out of reach: a string cannot
    be overwritten. They are in memory that only this process, a debugger and a core dump can read.
    """
    with open("/proc/self/environ", "rb") as block:
        offset = token_offset(block.read())
    if offset is None:
        return
    with open("/proc/self/stat", "rb") as stat:
        # The second field is the program's name in parentheses, and may hold anything; the 50th is `env_start`
        # (proc_pid_stat(5)).
        fields = stat.read().rpartition(b") ")[2].split(b" ")
    if len(fields) <= 50 - 3 or (start := int(fields[50 - 3])) == 0:
        return
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(start + offset)
        memory.write(b"-" * TOKEN_DIGITS)


def token_offset(block: bytes) -> int | None:
    """The offset of the token's digits in an environment block, if they have the length of a token."""
    start = 0
    prefix = f"{TOKEN}=".encode()
    for entry in block.split(b"\0"):
        if entry.startswith(prefix) and len(entry) == len(prefix) + TOKEN_DIGITS:
            return start + len(prefix)
        start += len(entry) + 1
    return None
