"""Clients without the token do not keep out the app."""

from __future__ import annotations

import collections
import contextlib
import socket
import sys
import threading

import pytest

import harness
from harness import TOKEN

HELD = 400


def storm(port: int, enough: threading.Event, stop: threading.Event) -> None:
    """Holds as many connections as it may, silent ones, and replaces the oldest all the time."""
    held: collections.deque[socket.socket] = collections.deque()
    while not stop.is_set():
        with contextlib.suppress(OSError):
            held.append(socket.create_connection(("127.0.0.1", port), timeout=1))
        if len(held) > HELD:
            enough.set()
            held.popleft().close()
    for connection in held:
        connection.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("descriptors", [1024, 100])
def test_a_storm_of_connections_does_not_keep_out_the_app(descriptors: int) -> None:
    program = ["sh", "-c", f'ulimit -n {descriptors} && exec "$0" "$@"', *harness.command()]
    with harness.spawn(program, harness.environment()) as process:
        sidecar = harness.announced(process)
        assert sidecar.port is not None
        enough, stop = threading.Event(), threading.Event()
        other = threading.Thread(target=storm, args=(sidecar.port, enough, stop))
        other.start()
        try:
            assert enough.wait(30)
            for _ in range(10):
                with socket.create_connection(("127.0.0.1", sidecar.port), timeout=10) as connection:
                    request = (
                        f"GET /health HTTP/1.1\r\nHost: {sidecar.host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
                    )
                    connection.sendall(request.encode())
                    assert connection.recv(12) == b"HTTP/1.1 200"
        finally:
            stop.set()
            other.join()
