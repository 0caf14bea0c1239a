"""Rules 1 and 6 of the protocol: opens the listener, and announces it."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Mapping

from ._process_environment import LISTEN_FDS_START
from .environment import LISTEN_FDS, LISTEN_PID, PORT, StartError, parse_port

#: The ports that browsers refuse to call: <https://fetch.spec.whatwg.org/#port-blocking>.
# fmt: off
BLOCKED_BY_BROWSERS = frozenset([
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
    109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515,
    526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049,
    3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
])
# fmt: on

# Connections that clients make between two runs wait in this queue.
_BACKLOG = 1024


def open_listener(variables: Mapping[str, str]) -> tuple[socket.socket, int | None]:
    """The listener, and its port: None if it is a Unix domain socket. Raises `StartError`.

    A listener from the host wins over ``PORT``, even over an invalid one.
    """
    if LISTEN_PID in variables:
        return _inherited(variables.get(LISTEN_FDS, ""))
    requested = parse_port(variables.get(PORT, ""))
    if requested is not None:
        return _bind(requested), requested
    # Keeps the rejected listeners open, so that the system offers each port only once.
    rejected: list[socket.socket] = []
    while True:
        listener = _bind(0)
        port: int = listener.getsockname()[1]
        if port not in BLOCKED_BY_BROWSERS:
            for other in rejected:
                other.close()
            return listener, port
        rejected.append(listener)


def announce(port: int | None) -> None:
    """Writes the announcement to stdout. Call it once the listener accepts connections. Raises `StartError`."""
    line = f"BACKEND_SOCKET:{LISTEN_FDS_START}\n" if port is None else f"BACKEND_PORT:{port}\n"
    if sys.__stdout__ is None:
        # Descriptor 1 may be anything by now, even the listener.
        raise StartError("cannot write the announcement: stdout was closed when the program started")
    try:
        # What the app has printed comes first, and the line leaves in one write.
        if sys.stdout is not None:
            sys.stdout.flush()
        os.write(1, line.encode())
    except OSError as error:
        raise StartError(f"cannot write the announcement to stdout: {error}") from error


def _inherited(count: str) -> tuple[socket.socket, int | None]:
    def unusable(why: str) -> StartError:
        return StartError(f"cannot use the listener from the host ({LISTEN_FDS}): {why}")

    if count != "1":
        raise unusable(f'{LISTEN_FDS} is "{count}": a sidecar takes exactly one listener')
    try:
        listener = socket.socket(fileno=LISTEN_FDS_START)
        listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        address = listener.getsockname()
    except OSError as error:
        raise unusable(f"descriptor {LISTEN_FDS_START}: {error}") from error
    if listener.family not in (socket.AF_INET, socket.AF_UNIX) or listener.type != socket.SOCK_STREAM:
        raise unusable(
            f"descriptor {LISTEN_FDS_START} is bound to {address}: it has to be a stream socket on 127.0.0.1, "
            "or in the Unix domain"
        )
    port = None if listener.family == socket.AF_UNIX else address[1]
    if port is not None and address[0] != "127.0.0.1":
        raise unusable(f"it is bound to {address[0]}:{port}: a sidecar listens on 127.0.0.1 only")
    if not listening:
        raise unusable(f"the socket at {address!r} does not listen")
    listener.set_inheritable(False)
    listener.setblocking(False)
    listener.listen(_BACKLOG)
    return listener, port


def _bind(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            # Otherwise the port of an earlier run stays taken for a minute. On Windows, the option would allow two
            # programs to bind the same port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The literal address: `localhost` may resolve to `::1`, and any other address may be open to the network.
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _explain(error, port) from error
    return listener


def _explain(error: OSError, port: int) -> StartError:
    if error.errno == errno.EADDRINUSE:
        return StartError(
            f"port {port} of 127.0.0.1 is taken, perhaps by an earlier run: `{_lookup_command(port)}` shows the process "
            "that holds it; set PORT to another port, or unset it to let the system choose"
        )
    if error.errno == errno.EACCES:
        return StartError(_forbidden(port, sys.platform))
    return StartError(f"cannot listen on 127.0.0.1: {error}")


def _forbidden(port: int, platform: str) -> str:
    """Windows protects no port from users; it refuses one that a program holds for itself, or that it has reserved."""
    if platform == "win32":
        return (
            f"Windows refuses port {port}: another program holds it for itself, or it is reserved (`netsh interface ipv4 "
            "show excludedportrange protocol=tcp` lists those ports); set PORT to another port, or unset it to let the "
            "system choose"
        )
    return f"the system refuses port {port} to this user: set PORT to 1024 or above, or unset it to let the system choose"


def _lookup_command(port: int) -> str:
    if sys.platform == "linux":
        return f"ss -ltnp sport = :{port}"
    if sys.platform == "win32":
        return f"netstat -ano | findstr :{port}"
    return f"lsof -nP -iTCP:{port} -sTCP:LISTEN"
