"""Runs the vectors of the protocol (docs/protocol) that are for sidecars."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pillion._progress import progress_line
from pillion.health import prove

import harness
from harness import Answer, Sidecar, announced, command, environment, read_answer, spawn

FOLDER = harness.TESTS.parents[2] / "docs/protocol"
FILES = ("admission", "websocket", "proof")

if not FOLDER.is_dir():
    pytest.skip("the vectors are in the repository, not in the package", allow_module_level=True)


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


def requests() -> list[Any]:
    return [
        pytest.param(name, vector, on, id=f"{name}-{on}-{vector['name']}")
        for name in FILES
        for vector in read(name)["vectors"]
        for on in vector.get("on", ("tcp", "socket"))
    ]


@pytest.mark.parametrize("vector", [pytest.param(line, id=line["name"]) for line in read("progress")["lines"]])
def test_progress(vector: dict[str, Any]) -> None:
    assert progress_line(vector["words"]).decode() == vector["line"]


Running = Callable[[str, str, str], tuple[Sidecar, Callable[[], socket.socket]]]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """One sidecar for each environment and transport, with the way to connect to it."""
    started: dict[tuple[str, str], tuple[Sidecar, Callable[[], socket.socket]]] = {}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())

        def start(name: str, chosen: str, on: str) -> tuple[Sidecar, Callable[[], socket.socket]]:
            variables: dict[str, str] = read(name)["environments"][chosen]
            key = (json.dumps(variables), on)
            if key not in started:
                path = os.path.join(folder, str(len(started)))
                listener = stack.enter_context(listen_unix(path)) if on == "socket" else None
                passed = harness.LISTENER if listener else {}
                process = spawn(command("handler:app"), bare({**variables, **passed}), listener)
                sidecar = announced(stack.enter_context(process))
                started[key] = (sidecar, sidecar.connect if on == "tcp" else lambda: connect_unix(path))
            return started[key]

        yield start


@pytest.mark.parametrize(("name", "vector", "on"), requests())
def test_request(running: Running, name: str, vector: dict[str, Any], on: str) -> None:
    file = read(name)
    sidecar, connect = running(name, vector["environment"], on)
    values = {
        "host": sidecar.host,
        "port": str(sidecar.port or 1),
        "token": file["token"],
        "instance": file["instance"],
    }

    def fill(text: str) -> str:
        return re.sub(r"\{(host|port|token|instance)\}", lambda match: values[match[1]], text)

    lines = [fill(line) for line in vector["request"]]
    with connect() as connection:
        head = "".join(f"{line}\r\n" for line in [*lines, ""])
        connection.sendall((head + fill(vector.get("body", ""))).encode())
        answer = answer_to(connection, head_only=lines[0].startswith("HEAD "))
    if answer is None:
        assert 0 in vector["status"], "the connection was closed"
        return
    assert answer.status in vector["status"]
    if (reached := vector.get("handler")) is not None:
        assert (answer.values("x-handler") == ["reached"]) == reached
    for header, value in vector.get("headers", {}).items():
        assert answer.values(header) == [fill(value)], header
    for header, elements in vector.get("listed", {}).items():
        assert {fill(element).lower() for element in elements} <= listed(answer, header), header
    for header in vector.get("absent", ()):
        assert answer.values(header) == [], header
    if "json" in vector:
        assert json.loads(answer.body) == json.loads(fill(json.dumps(vector["json"])))
    if "json_has" in vector:
        members = json.loads(fill(json.dumps(vector["json_has"])))
        assert members.items() <= json.loads(answer.body).items()
    if "proof" in vector:
        proof = vector["proof"] and prove(file["token"], sidecar.port, vector["proof"].encode())
        assert answer.values("pillion-proof") == ([proof.decode()] if proof else [])
    if "chosen" in vector:
        assert answer.values("sec-websocket-protocol") == ([vector["chosen"]] if vector["chosen"] else [])
    if "sees" in vector:
        assert listed(answer, "x-subprotocols") == set(vector["sees"])


@pytest.mark.parametrize(
    "vector", [pytest.param(vector, id=vector["name"]) for vector in read("proof")["proofs"]]
)
def test_proof(vector: dict[str, str]) -> None:
    _, _, port = vector["address"].partition(":")
    proof = prove(vector["token"], int(port) if port else None, vector["challenge"].encode())
    assert proof == vector["proof"].encode()


@pytest.mark.parametrize(
    "vector", [pytest.param(vector, id=vector["name"]) for vector in read("environment")["vectors"]]
)
def test_environment(vector: dict[str, Any]) -> None:
    outcome = vector["outcome"]
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(harness.socket_path())
        taken = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        reserved = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        free = reserved.getsockname()[1]
        if outcome.get("listens") == "port":
            # Otherwise it stays open, so that the system does not choose it for the sidecar by chance.
            reserved.close()
        ports = {"{free}": str(free), "{taken}": str(taken.getsockname()[1]), "{ppid}": str(os.getpid())}
        # The program that passes descriptor 3 replaces {pid}.
        variables = {name: ports.get(value, value) for name, value in vector["environment"].items()}
        passed = descriptor(vector.get("descriptor3"), path, stack)
        # Without a lifeline, whose end would be a request to stop.
        start = spawn(command("handler:app"), bare(variables), passed, stdin=subprocess.DEVNULL)
        process = stack.enter_context(start)
        if not outcome["starts"]:
            stdout, stderr = process.communicate()
            assert (process.returncode != 0, stdout, stderr != b"") == (True, b"", True), stderr
            assert outcome.get("hides", "\0").encode() not in stderr
            return
        sidecar = announced(process)
        connect = sidecar.connect
        if outcome.get("listens") == "descriptor":
            assert isinstance(passed, socket.socket)
            address = passed.getsockname()
            if sidecar.port is None:
                connect = lambda: connect_unix(address)  # noqa: E731
            else:
                assert sidecar.port == address[1]
        elif outcome.get("listens") == "port":
            assert sidecar.port == free
        elif outcome.get("listens") == "any":
            assert sidecar.port not in (None, free)
            assert not isinstance(passed, socket.socket) or passed.getsockname()[1:] != (sidecar.port,)

        def ask(path: str, *headers: str, token: bool = True) -> Answer:
            if token and variables.get("PILLION_TOKEN"):
                headers = (*headers, f"Authorization: Bearer {variables['PILLION_TOKEN']}")
            with connect() as connection:
                return harness.ask(connection, sidecar.host, f"GET {path}", *headers, token=False)

        if "private" in outcome:
            assert ask("/items", token=False).status == (401 if outcome["private"] else 200)
        if "instance" in outcome:
            assert json.loads(ask("/health").body).get("instance") == outcome["instance"]
        for origin in outcome.get("allows", ()):
            answer = ask("/health", f"Origin: {origin}")
            assert (answer.status, answer.values("access-control-allow-origin")) == (200, [origin])
        for origin in outcome.get("refuses", ()):
            answer = ask("/health", f"Origin: {origin}")
            assert (answer.status, answer.values("access-control-allow-origin")) == (403, []), origin


def bare(variables: dict[str, str]) -> dict[str, str]:
    """The variables, without those of a private sidecar."""
    inherited = {name: value for name, value in environment().items() if not name.startswith("PILLION_")}
    return {**inherited, **variables}


def descriptor(kind: str | None, path: Path, stack: contextlib.ExitStack) -> socket.socket | int | None:
    if kind is None:
        return None
    if kind == "unix":
        return stack.enter_context(listen_unix(str(path)))
    if kind == "udp":
        datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagrams.bind(("127.0.0.1", 0))
        return datagrams
    if kind == "file":
        return stack.enter_context(open(__file__, "rb")).fileno()
    if kind == "connection":
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        return stack.enter_context(socket.create_connection(server.getsockname()))
    _, _, address = kind.partition(" ")
    if address == "[::]":
        if not socket.has_ipv6:
            pytest.skip("no IPv6")
        return stack.enter_context(socket.create_server(("::", 0), family=socket.AF_INET6))
    return stack.enter_context(socket.create_server((address or "127.0.0.1", 0)))


def listen_unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener


def connect_unix(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def answer_to(connection: socket.socket, head_only: bool) -> Answer | None:
    """Reads one answer, or None if the server closes the connection without one."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        try:
            received = connection.recv(65536)
        except ConnectionResetError:
            received = b""
        if not received:
            return None
        raw += received
    answer = Answer(raw)
    if head_only or answer.status in (101, 204):
        return answer
    return read_answer(connection, raw)


def listed(answer: Answer, header: str) -> set[str]:
    elements = (element.strip().lower() for value in answer.values(header) for element in value.split(","))
    return {element for element in elements if element}
