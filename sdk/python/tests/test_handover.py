"""Rule 6: the listener of the host on descriptor 3."""

from __future__ import annotations

import json
import signal
import socket
import sys
from pathlib import Path

import pytest

import harness
from harness import announced, command, environment, spawn

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows passes no descriptors")


def tcp() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def ask_socket(path: Path, host: str = "localhost", token: bool = True) -> harness.Answer:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        return harness.ask(connection, host, "GET /", token=token)


def test_it_accepts_on_the_listener_and_ignores_port() -> None:
    for port in ("1", "nonsense"):
        with tcp() as listener, harness.sidecar(listener=listener, PORT=port) as sidecar:
            assert sidecar.port == listener.getsockname()[1]
            assert sidecar.ask("GET /").status == 200


def test_the_listener_survives_runs_and_requests_wait_between_them() -> None:
    with tcp() as listener:
        for end in (signal.SIGKILL, signal.SIGTERM):
            # It connects before the sidecar runs.
            early = socket.create_connection(listener.getsockname())
            with early, harness.sidecar(listener=listener) as sidecar:
                assert harness.ask(early, sidecar.host, "GET /").status == 200
                sidecar.signal(end)
                sidecar.end()


def test_on_a_unix_domain_socket_the_host_is_localhost() -> None:
    with harness.socket_path() as path, unix(path) as listener, harness.sidecar(listener=listener) as sidecar:
        assert sidecar.port is None
        assert ask_socket(path).status == 200
        assert ask_socket(path, "LOCALHOST").status == 200
        assert ask_socket(path, token=False).status == 401
        for foreign in ("localhost:80", "127.0.0.1", "evil.example"):
            assert ask_socket(path, foreign).status == 403
        sidecar.signal(signal.SIGTERM)
        assert sidecar.end()[:2] == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_children_inherit_neither_the_listener_nor_its_variables() -> None:
    with tcp() as listener, harness.sidecar(listener=listener) as sidecar:
        environ, descriptors = json.loads(sidecar.ask("GET /child").body)
        assert not [name for name in environ if name.startswith("LISTEN_") or name == "PILLION_TOKEN"]
        # The listing itself uses one descriptor, the first free one.
        assert descriptors == ["0", "1", "2", "3"]


def test_a_listener_for_another_process_is_left_alone() -> None:
    with tcp() as listener:
        for pid in ("1", "", "nonsense"):
            with spawn(command(), environment(LISTEN_PID=pid, LISTEN_FDS="1"), listener) as process:
                sidecar = announced(process)
                assert sidecar.port != listener.getsockname()[1]
                assert sidecar.ask("GET /").status == 200


# Starts itself again in a child and names that in LISTEN_PID, as the bootloader of PyInstaller does.
BOOTLOADER = """
import os, sys
child = os.fork()
if child == 0:
    os.environ["LISTEN_PID"] = str(os.getpid())
    program = "import os, sys; sys.frozen = True; import pillion; print('LISTEN_PID' in os.environ)"
    os.execv(sys.executable, [sys.executable, "-c", program])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_program_of_pyinstaller_takes_the_listener_that_its_bootloader_was_given() -> None:
    for pid, left_alone in (("1", True), ("{pid}", False)):
        with tcp() as listener:
            bootloader = [sys.executable, "-c", BOOTLOADER]
            with spawn(bootloader, environment(LISTEN_PID=pid, LISTEN_FDS="1"), listener) as process:
                output, _ = process.communicate()
                assert (process.returncode, output) == (0, f"{left_alone}\n".encode())


@pytest.mark.parametrize("count", ["0", "2", "", "garbage"])
def test_another_number_of_listeners_is_an_error(count: str) -> None:
    with tcp() as listener:
        refuses(listener, "takes exactly one listener", LISTEN_FDS=count)


def test_a_listener_that_the_network_may_reach_is_refused() -> None:
    # Elsewhere 127.0.0.1 alone is an address of this machine.
    for address in ("0.0.0.0", "127.0.0.2") if sys.platform == "linux" else ("0.0.0.0",):
        with socket.create_server((address, 0)) as listener:
            refuses(listener, f"it is bound to {address}")


def test_an_ipv6_listener_is_refused() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        refuses(listener, "it has to be a stream socket on 127.0.0.1")


def test_a_descriptor_that_does_not_listen_is_refused() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        refuses(bound, "does not listen")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        refuses(datagrams, "it has to be a stream socket")
    here, there = socket.socketpair()
    with here, there:
        refuses(here, "does not listen")


def refuses(listener: socket.socket, expected: str, **variables: str) -> None:
    with spawn(command(), environment(**{**harness.LISTENER, **variables}), listener) as process:
        stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (1, b""), stderr
    assert "pillion: cannot use the listener from the host" in stderr.decode()
    assert expected in stderr.decode()
