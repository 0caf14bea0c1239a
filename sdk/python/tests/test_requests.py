"""Requests to a running sidecar, in raw bytes."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from collections.abc import Iterator

import pytest

import harness
from harness import INSTANCE, PAGE, TOKEN, Answer, Sidecar

ORIGIN = f"Origin: {PAGE}"
ASKS = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization")


@pytest.fixture(scope="module")
def private() -> Iterator[Sidecar]:
    with harness.sidecar("--name", "AIOS", "--app-version", "1.2.3") as sidecar:
        yield sidecar


@pytest.fixture(scope="module")
def public() -> Iterator[Sidecar]:
    with harness.sidecar("--name", "AIOS", PILLION_TOKEN="") as sidecar:
        yield sidecar


def shown(answer: Answer) -> dict[str, object]:
    assert answer.status == 200, answer.body
    fields: dict[str, object] = json.loads(answer.body)
    return fields


def test_health_with_the_token_has_all_fields(private: Sidecar) -> None:
    for request in ("GET /health", "GET /health?x", f"GET http://LOCALHOST:{private.port}/health"):
        answer = private.ask(request)
        fields = shown(answer)
        assert list(fields) == [
            "status",
            "app",
            "timestamp",
            "uptime",
            "pillion_protocol",
            "version",
            "instance",
        ]
        assert (fields["status"], fields["app"], fields["version"]) == ("ok", "AIOS", "1.2.3")
        assert fields["instance"] == INSTANCE
        assert isinstance(fields["timestamp"], int)
        assert fields["timestamp"] > 1_700_000_000_000, "milliseconds"
        assert answer.values("cache-control") == ["no-store"]


def test_health_without_the_token_says_only_ok(private: Sidecar) -> None:
    for request in ("GET /health", "GET /health?x"):
        answer = private.ask(request, token=False)
        assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
    answer = private.ask("HEAD /health", token=False)
    assert (answer.status, answer.body, answer.values("content-length")) == (200, b"", ["15"])


def test_without_a_token_everything_local_is_served(public: Sidecar) -> None:
    assert shown(public.ask("GET /health", token=False))["instance"] == INSTANCE
    assert public.ask("GET /", token=False).status == 200
    assert public.ask("GET /", "Origin: https://evil.example", token=False).status == 403
    seen = shown(public.ask("GET /", "Authorization: Basic eA==", token=False))
    assert ["authorization", "Basic eA=="] in seen["headers"], "the app's own"  # type: ignore[operator]


def test_the_proof_is_an_hmac_and_the_token_follows_on_the_same_connection(private: Sidecar) -> None:
    challenge = "000102030405060708090a0b0c0d0e0f"
    with private.connect() as connection:
        request = f"GET /health HTTP/1.1\r\nHost: {private.host}\r\nPillion-Challenge: {challenge}\r\n\r\n"
        connection.sendall(request.encode())
        message = f"pillion-health 127.0.0.1:{private.port} {challenge}"
        proof = hmac.new(TOKEN.encode(), message.encode(), hashlib.sha256).hexdigest()
        assert harness.read_answer(connection).values("pillion-proof") == [proof]
        answer = harness.ask(connection, private.host, "GET /health")
        assert json.loads(answer.body)["instance"] == INSTANCE


def test_an_invalid_challenge_counts_as_absent(private: Sidecar) -> None:
    for challenge in ("", "0" * 31, "A" * 32):
        answer = private.ask("GET /health", f"Pillion-Challenge: {challenge}", token=False)
        assert (answer.status, answer.values("pillion-proof")) == (200, [])


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        ("GET /notes", (), 401),
        ("GET /notes", (f"Authorization: Bearer {'0' * 64}",), 401),
        ("GET /notes", (f"Authorization: Bearer {TOKEN}", f"Authorization: Bearer {TOKEN}"), 401),
        ("GET /notes", (ORIGIN,), 401),
        ("GET /notes?token=" + TOKEN, (), 401),
        ("GET /notes", ("Upgrade: websocket", "Connection: upgrade"), 401),
        ("GET //health", (), 401),
        ("GET /health/", (), 401),
        ("GET /%68ealth", (), 401),
        ("POST /health", ("Content-Length: 0",), 401),
        ("OPTIONS *", (), 401),
        ("OPTIONS /notes", (ORIGIN,), 401),
        ("OPTIONS /notes", (ORIGIN, *ASKS), 204),
        ("OPTIONS /notes", ("Origin: https://evil.example", *ASKS), 403),
        ("GET /health", ("Origin: null",), 403),
        ("GET /health", (ORIGIN, ORIGIN), 403),
        ("GET http://evil.example/health", (), 403),
        ("CONNECT evil.example:443", (), 403),
    ],
)
def test_a_request_without_the_token_is_refused(
    private: Sidecar, request_line: str, headers: tuple[str, ...], status: int
) -> None:
    answer = private.ask(request_line, *headers, token=False)
    assert answer.status == status
    assert b'"path"' not in answer.body, "the app did not see it"
    readable = ORIGIN in headers and status != 403
    assert answer.values("access-control-allow-origin") == ([PAGE] if readable else [])
    assert answer.values("www-authenticate") == (["Bearer"] if status == 401 else [])
    assert answer.values("vary") == (["Origin"] if status in (401, 204) else [])


@pytest.mark.parametrize("host", ["evil.example:{}", "127.0.0.1", "127.0.0.1:1", "localhost.:{}", "[::1]:{}"])
def test_another_host_is_refused_even_with_the_token(private: Sidecar, host: str) -> None:
    with private.connect() as connection:
        answer = harness.ask(connection, host.format(private.port), "GET /", ORIGIN)
    assert (answer.status, answer.values("access-control-allow-origin")) == (403, [])


def test_a_request_without_exactly_one_host_is_refused(private: Sidecar) -> None:
    bearer = f"Authorization: Bearer {TOKEN}\r\n"
    for head in (f"GET / HTTP/1.0\r\n{bearer}", f"GET / HTTP/1.1\r\n{bearer}",
                 f"GET / HTTP/1.1\r\nHost: {private.host}\r\nHost: {private.host}\r\n{bearer}"):  # fmt: skip
        with private.connect() as connection:
            connection.sendall(f"{head}\r\n".encode())
            assert Answer(harness.read_to_end(connection)).status == 400, head


def test_a_preflight_of_an_allowed_page_is_answered_without_the_app(private: Sidecar) -> None:
    answer = private.ask(
        "OPTIONS /notes", ORIGIN, *ASKS, "Access-Control-Request-Private-Network: true", token=False
    )
    assert (answer.status, answer.body) == (204, b"")
    assert answer.values("access-control-allow-methods") == ["PUT"]
    assert answer.values("access-control-allow-headers") == ["authorization"]
    assert answer.values("access-control-allow-private-network") == ["true"]
    assert answer.values("access-control-max-age") == ["7200"]


def test_the_page_can_read_answers_and_errors_of_the_app(private: Sidecar) -> None:
    for path, status in (("/", 200), ("/crash", 500)):
        answer = private.ask(f"GET {path}", ORIGIN)
        assert answer.status == status
        assert answer.values("access-control-allow-origin") == [PAGE], "the header of the app is replaced"
        assert answer.values("vary") == ["Origin"]


def test_the_app_does_not_see_the_token(private: Sidecar) -> None:
    answer = private.ask("GET /", "Proxy-Authorization: Basic eA==", "X-Own: 1")
    assert TOKEN.encode() not in answer.body
    headers = shown(answer)["headers"]
    assert isinstance(headers, list)
    assert ["x-own", "1"] in headers
    assert not {"authorization", "proxy-authorization"}.intersection(name for name, _ in headers)


def test_the_app_sees_a_target_in_absolute_form_as_a_path(private: Sidecar) -> None:
    seen = shown(private.ask(f"GET http://{private.host}/a%20b?x"))
    assert (seen["path"], seen["raw_path"]) == ("/a b", "/a%20b")


def test_a_refusal_closes_the_connection_unless_it_has_shown_the_token(private: Sidecar) -> None:
    refused = f"GET / HTTP/1.1\r\nHost: {private.host}\r\n\r\n".encode()
    served = f"GET / HTTP/1.1\r\nHost: {private.host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    with private.connect() as connection:
        connection.sendall(refused)
        assert Answer(harness.read_to_end(connection)).values("connection") == ["close"]
    with private.connect() as connection:
        for request, status in ((served, 200), (refused, 401), (served, 200)):
            connection.sendall(request)
            answer = harness.read_answer(connection)
            assert (answer.status, answer.values("connection")) == (status, [])


def test_a_refusal_reaches_a_client_that_still_sends_its_body(private: Sidecar) -> None:
    # More than the buffers of both sides hold: closing at once would reset the connection.
    answer = private.ask("POST /notes", body=bytes(32 << 20), token=False)
    assert answer.status == 401


def test_a_connection_without_the_token_is_closed_in_time(private: Sidecar) -> None:
    with private.connect() as silent, private.connect() as proven:
        proven.sendall(
            f"GET / HTTP/1.1\r\nHost: {private.host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        harness.read_answer(proven)
        with contextlib.suppress(ConnectionResetError):
            assert silent.recv(1) == b""


def test_clients_without_the_token_do_not_keep_out_the_app(private: Sidecar) -> None:
    # More than the sidecar accepts. It closes the oldest ones.
    held = [private.connect() for _ in range(300)]
    try:
        assert private.ask("GET /").status == 200
    finally:
        for connection in held:
            connection.close()


def test_a_large_head_is_refused(private: Sidecar) -> None:
    assert private.ask("GET /", f"X-Large: {'x' * 60_000}").status == 200
    # The server closes the connection while it receives the rest.
    with contextlib.suppress(ConnectionError):
        assert private.ask("GET /", f"X-Large: {'x' * 600_000}").status == 400
