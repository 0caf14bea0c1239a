from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterable
from typing import Any

import pytest
from pillion._wsgi import interface_of

import harness
from harness import PAGE, TOKEN, Sidecar


def open_stream(sidecar: Sidecar, path: str) -> Any:
    connection = sidecar.connect()
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {sidecar.host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    )
    return connection


def test_a_wsgi_app_sees_the_request_without_the_token() -> None:
    with harness.sidecar(app="wsgi:app") as sidecar:
        answer = sidecar.ask(
            "POST /no%C3%AFve?x=%20y",
            f"Origin: {PAGE}",
            "Content-Type: text/plain",
            "Cookie: a=1",
            "Cookie: b=2",
            "X-Real: 1",
            "X_Real: 2",
            body=b"words",
        )
        assert answer.status == 201
        assert answer.values("access-control-allow-origin") == [PAGE]
        seen = json.loads(answer.body)
        assert seen["body"] == "words"
        environ = seen["environ"]
        assert environ["PATH_INFO"].encode("latin-1").decode() == "/noïve"
        assert (environ["REQUEST_METHOD"], environ["QUERY_STRING"]) == ("POST", "x=%20y")
        assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("text/plain", "5")
        assert (environ["HTTP_COOKIE"], environ["HTTP_X_REAL"]) == ("a=1; b=2", "1")
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("127.0.0.1", str(sidecar.port))
        assert (environ["REMOTE_ADDR"], environ["SCRIPT_NAME"]) == ("127.0.0.1", "")
        assert "HTTP_AUTHORIZATION" not in environ
        assert TOKEN not in json.dumps(environ)


def test_a_wsgi_app_sees_a_host_and_a_port_on_a_socket_too() -> None:
    with (
        harness.socket_path() as path,
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        listener.bind(str(path))
        listener.listen()
        with harness.sidecar(app="wsgi:app", listener=listener):
            connection.connect(str(path))
            environ = json.loads(harness.ask(connection, "localhost", "GET /").body)["environ"]
            assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("localhost", "80")


def test_a_wsgi_app_gets_the_length_of_a_body_in_chunks() -> None:
    with harness.sidecar(app="wsgi:app") as sidecar, sidecar.connect() as connection:
        connection.sendall(
            f"POST / HTTP/1.1\r\nHost: {sidecar.host}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n"
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".encode()
        )
        seen = json.loads(harness.Answer(harness.read_to_end(connection)).body)
        assert seen["body"] == "abcde"
        assert seen["environ"]["CONTENT_LENGTH"] == "5"
        assert "HTTP_TRANSFER_ENCODING" not in seen["environ"]


def test_a_wsgi_app_uses_a_thread_again() -> None:
    with harness.sidecar(app="wsgi:app") as sidecar:
        threads = set()
        for _ in range(20):
            threads.add(json.loads(sidecar.ask("GET /").body)["thread"])
        # A thread may still be on its way back when the next request comes.
        assert len(threads) < 20


@pytest.mark.parametrize("path", ["/crash", "/silent"])
def test_an_error_of_a_wsgi_app_is_a_500_that_the_page_can_read(path: str) -> None:
    with harness.sidecar(app="wsgi:app") as sidecar:
        answer = sidecar.ask(f"GET {path}", f"Origin: {PAGE}")
        assert (answer.status, answer.values("access-control-allow-origin")) == (500, [PAGE])
        sidecar.wait_for("the app has a bug" if path == "/crash" else "has not called start_response")


def test_a_wsgi_app_may_replace_a_head_that_is_not_sent() -> None:
    with harness.sidecar(app="wsgi:app") as sidecar:
        answer = sidecar.ask("GET /replaced")
        assert (answer.status, b"tea" in answer.body) == (418, True)


def test_a_client_that_goes_ends_the_answer_of_a_wsgi_app() -> None:
    with harness.sidecar(app="wsgi:app") as sidecar:
        with open_stream(sidecar, "/numbers") as connection:
            assert connection.recv(1)
        sidecar.wait_for("app: closed")


@pytest.mark.parametrize("cause", ["SIGTERM", "stdin"])
def test_a_stop_ends_event_streams_of_a_wsgi_app_and_the_clean_up_runs(cause: str) -> None:
    with harness.sidecar("--grace", "600", app="wsgi:app") as sidecar:
        # More than the threads of a usual pool.
        streams = [open_stream(sidecar, "/events") for _ in range(40)]
        for _ in streams:
            sidecar.wait_for("app: waiting for an event")
        assert sidecar.ask("GET /").status == 201
        if cause == "stdin":
            sidecar.close_stdin()
        else:
            sidecar.signal(signal.SIGTERM)
        for connection in streams:
            assert b"data: first\n\n\r\n0\r\n\r\n" in harness.read_to_end(connection), "a complete answer"
            connection.close()
        status, stdout, stderr = sidecar.end()
        assert (status, stdout) == (0, "")
        assert "app: the process ends" in stderr
        assert "Traceback" not in stderr


def test_an_event_stream_of_a_wsgi_app_begins_and_ends_without_an_event() -> None:
    with harness.sidecar("--grace", "600", app="wsgi:app") as sidecar:
        with open_stream(sidecar, "/events?later") as connection:
            head = connection.recv(1024)
            assert b"200 OK" in head
            sidecar.close_stdin()
            assert harness.read_to_end(connection).endswith(b"0\r\n\r\n")
        assert sidecar.end()[0] == 0


def test_a_wsgi_app_refuses_a_websocket() -> None:
    with harness.sidecar(app="wsgi:app") as sidecar:
        upgrade = [
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ]
        with sidecar.connect() as connection:
            lines = ["GET / HTTP/1.1", f"Host: {sidecar.host}", f"Authorization: Bearer {TOKEN}"]
            connection.sendall("\r\n".join([*lines, "Connection: Upgrade", *upgrade, "", ""]).encode())
            assert harness.read_answer(connection).status == 403


def test_wsgi_apps_are_told_from_asgi_apps() -> None:
    class Flask:
        def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
            return []

    class FastAPI:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def wrapped(*arguments: Any) -> Any: ...

    assert interface_of(Flask()) == "wsgi"
    assert interface_of(FastAPI()) == "asgi"
    assert interface_of(wrapped) == "asgi"
    assert interface_of(lambda request: None) is None
