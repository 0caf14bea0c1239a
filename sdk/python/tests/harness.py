"""Starts sidecars as a host does, and speaks to them in raw bytes."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

TESTS = Path(__file__).parent
PYTHONPATH = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS / "apps")])
TOKEN = "a5" * 32
INSTANCE = "0700ff10" * 4
PAGE = "tauri://localhost"

#: The variables of sd_listen_fds(3).
LISTENER = {"LISTEN_FDS": "1", "LISTEN_PID": "{pid}", "LISTEN_FDNAMES": "http"}

# Becomes the sidecar: the process id stays the same.
HAND_OVER = """
import os, sys
listener = int(sys.argv[1])
if listener != 3:
    os.dup2(listener, 3)
    os.close(listener)
if "LISTEN_PID" in os.environ:
    os.environ["LISTEN_PID"] = os.environ["LISTEN_PID"].replace("{pid}", str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])
"""


class Sidecar:
    """A running sidecar. Its stdin is a lifeline."""

    def __init__(self, process: subprocess.Popen[bytes], port: int | None) -> None:
        self.process = process
        self.port = port

    @property
    def host(self) -> str:
        return "localhost" if self.port is None else f"127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        assert self.port is not None
        return socket.create_connection(("127.0.0.1", self.port))

    def ask(self, request: str, *headers: str, body: bytes = b"", token: bool = True) -> Answer:
        """Sends one request with the right Host, by default with the token, and reads the answer to the end."""
        with self.connect() as connection:
            return ask(connection, self.host, request, *headers, body=body, token=token)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait_for(self, text: str) -> list[str]:
        """Reads stderr until a line contains `text`. Returns the lines."""
        assert self.process.stderr is not None
        lines = []
        for line in self.process.stderr:
            lines.append(line.decode())
            if text in lines[-1]:
                return lines
        raise AssertionError(f"stderr ended without {text!r}: {''.join(lines)}")

    def end(self) -> tuple[int, str, str]:
        """Waits for the end. Returns the exit status, and what is left of stdout and stderr."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        # Each stream is short enough for its pipe.
        stdout, stderr = self.process.stdout.read().decode(), self.process.stderr.read().decode()
        return self.process.wait(), stdout, stderr


class Answer:
    def __init__(self, raw: bytes) -> None:
        head, separator, self.body = raw.partition(b"\r\n\r\n")
        assert separator, raw
        status, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(status.split(" ")[1])
        self.headers = [(name.lower(), value.strip()) for name, value in (line.split(":", 1) for line in lines)]

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


def ask(
    connection: socket.socket, host: str, request: str, *headers: str, body: bytes = b"", token: bool = True
) -> Answer:
    lines = [f"{request} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    if token:
        lines.append(f"Authorization: Bearer {TOKEN}")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    return Answer(read_to_end(connection))


def read_to_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def read_answer(connection: socket.socket, raw: bytes = b"") -> Answer:
    """Reads one answer of a connection that stays open. `raw` is what was read before."""
    while b"\r\n\r\n" not in raw:
        raw += (received := connection.recv(65536))
        assert received, raw
    lengths = Answer(raw).values("content-length")
    if not lengths:
        return Answer(raw + read_to_end(connection))
    length = int(lengths[0])
    end = raw.index(b"\r\n\r\n") + 4 + length
    while len(raw) < end:
        raw += connection.recv(65536)
    return Answer(raw)


def environment(**variables: str) -> dict[str, str]:
    """The environment of a private sidecar, with changes."""
    names = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SYSTEMROOT")
    inherited = {name: os.environ[name] for name in names if name in os.environ}
    private = {"PILLION_PROTOCOL": "1", "PILLION_INSTANCE": INSTANCE, "PILLION_TOKEN": TOKEN}
    return {**inherited, "PYTHONPATH": PYTHONPATH, **private, **variables}


def command(app: str = "probe:app", *options: str) -> list[str]:
    return [sys.executable, "-m", "pillion", app, *options]


@contextlib.contextmanager
def socket_path() -> Iterator[Path]:
    """A free path for a Unix domain socket. The folders of pytest are too deep on macOS, which permits 104 bytes."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "s"


@contextlib.contextmanager
def spawn(
    arguments: Sequence[str],
    env: Mapping[str, str],
    descriptor: socket.socket | int | None = None,
    stdin: int = subprocess.PIPE,
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a program. Passes `descriptor` as descriptor 3, and kills what is left."""
    passed = []
    if descriptor is not None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        arguments = [sys.executable, "-c", HAND_OVER, str(number), *arguments]
        passed = [number]
    pipe = subprocess.PIPE
    process = subprocess.Popen(arguments, env=env, stdin=stdin, stdout=pipe, stderr=pipe, pass_fds=passed)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


@contextlib.contextmanager
def sidecar(
    *options: str, app: str = "probe:app", listener: socket.socket | None = None, **variables: str
) -> Iterator[Sidecar]:
    """Starts a sidecar and reads its announcement."""
    if listener is not None:
        variables = {**LISTENER, **variables}
    with spawn(command(app, *options), environment(**variables), listener) as process:
        yield announced(process)


def announced(process: subprocess.Popen[bytes]) -> Sidecar:
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    if not line:
        assert process.stderr is not None
        raise AssertionError(process.stderr.read().decode())
    if line == "BACKEND_SOCKET:3\n":
        return Sidecar(process, None)
    name, _, port = line.rstrip("\n").partition(":")
    assert name == "BACKEND_PORT", line
    return Sidecar(process, int(port))
