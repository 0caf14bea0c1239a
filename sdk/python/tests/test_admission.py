from __future__ import annotations

import pytest
from pillion.admission import Admission, Decision, Target, without_bearer
from pillion.cors import allow_reading, preflight
from pillion.environment import HostEnvironment
from pillion.health import Identity, prove

TOKEN = "a5" * 32
OURS = (b"host", b"127.0.0.1:4242")
PAGE = (b"origin", b"tauri://localhost")
BEARER = (b"authorization", b"Bearer " + TOKEN.encode())
HOST = HostEnvironment(None, TOKEN, ("tauri://localhost",))


def decide(
    *headers: tuple[bytes, bytes], request: str = "POST /", port: int | None = 4242, token: bool = True
) -> Decision:
    method, target = request.split(" ")
    host = HOST if token else HostEnvironment(None, None, HOST.origins)
    return Admission(port, host).decide(method, Target.parse(target.encode()), headers)


@pytest.mark.parametrize("ours", [b"127.0.0.1:4242", b"localhost:4242", b"LocalHost:4242"])
def test_a_request_to_this_server_with_the_token_is_served(ours: bytes) -> None:
    assert decide((b"host", ours), BEARER) is Decision.SERVE
    assert decide((b"host", ours), BEARER, PAGE) is Decision.SERVE


@pytest.mark.parametrize(
    "foreign",
    [
        b"", b"127.0.0.1", b"localhost", b"127.0.0.1:", b"127.0.0.1:80", b"127.0.0.1:4243", b"127.0.0.1:04242",
        b"127.0.0.1:42420", b"127.0.0.2:4242", b"127.1:4242", b"2130706433:4242", b"0.0.0.0:4242", b"[::1]:4242",
        b"localhost.:4242", b"evil.example:4242", b"127.0.0.1.evil.example:4242", b"user@127.0.0.1:4242",
        b"127.0.0.1:4242, evil.example", b"127.0.0.1:4242\0", b" 127.0.0.1:4242", b"http://127.0.0.1:4242", b"\xff",
    ],
)  # fmt: skip
def test_another_host_is_refused(foreign: bytes) -> None:
    assert decide((b"host", foreign), BEARER) is Decision.FOREIGN_HOST


def test_exactly_one_host_is_necessary() -> None:
    assert decide(BEARER) is Decision.NO_HOST
    assert decide(OURS, OURS, BEARER) is Decision.SEVERAL_HOSTS


@pytest.mark.parametrize("host", [b"127.0.0.1", b"127.0.0.1:80", b"localhost", b"localhost:80"])
def test_host_may_omit_the_default_port(host: bytes) -> None:
    assert decide((b"host", host), BEARER, port=80) is Decision.SERVE


def test_on_a_socket_the_host_is_localhost() -> None:
    assert decide((b"host", b"LocalHost"), BEARER, port=None) is Decision.SERVE
    for foreign in (b"", b"localhost:80", b"127.0.0.1", b"evil.example", b"localhost."):
        assert decide((b"host", foreign), BEARER, port=None) is Decision.FOREIGN_HOST


@pytest.mark.parametrize(
    ("target", "decision"),
    [
        ("http://127.0.0.1:4242/x", Decision.SERVE),
        ("HTTP://LOCALHOST:4242", Decision.SERVE),
        ("https://127.0.0.1:4242/x", Decision.FOREIGN_HOST),
        ("ws://127.0.0.1:4242/x", Decision.FOREIGN_HOST),
        ("http://evil.example/x", Decision.FOREIGN_HOST),
        ("http://127.0.0.1:4242@evil.example/", Decision.FOREIGN_HOST),
        ("http://user@127.0.0.1:4242/", Decision.FOREIGN_HOST),
        ("http:///health", Decision.FOREIGN_HOST),
        ("evil.example:4242", Decision.FOREIGN_HOST),
        ("127.0.0.1:4242", Decision.SERVE),
        ("*", Decision.SERVE),
        ("//evil.example/x", Decision.SERVE),
    ],
)
def test_the_target_must_name_this_server(target: str, decision: Decision) -> None:
    assert decide(OURS, BEARER, request=f"GET {target}") is decision


@pytest.mark.parametrize(
    "origin", [b"", b"null", b"tauri://localhost/", b"TAURI://localhost", b"https://evil.example", b"\xff"]
)
def test_another_origin_is_refused(origin: bytes) -> None:
    assert decide(OURS, (b"origin", origin), BEARER) is Decision.FOREIGN_ORIGIN
    assert decide(OURS, (b"origin", origin), token=False) is Decision.FOREIGN_ORIGIN


def test_two_origins_are_refused() -> None:
    assert decide(OURS, PAGE, PAGE, BEARER) is Decision.FOREIGN_ORIGIN


@pytest.mark.parametrize("value", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER    {TOKEN}"])
def test_the_scheme_is_case_insensitive_and_spaces_follow_it(value: str) -> None:
    assert decide(OURS, (b"authorization", value.encode())) is Decision.SERVE


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer ", f"Bearer{TOKEN}", f"Bearer\t{TOKEN}", f"Bearer {TOKEN} ", f"Bearer {TOKEN.upper()}",
     f"Bearer {TOKEN[1:]}", f"Bearer {TOKEN}0", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}\n", f"Bearer {'0' * 64}"],
)  # fmt: skip
def test_other_credentials_are_unauthorized(value: str) -> None:
    assert decide(OURS, (b"authorization", value.encode())) is Decision.UNAUTHORIZED


def test_two_credentials_are_unauthorized() -> None:
    assert decide(OURS, BEARER, BEARER) is Decision.UNAUTHORIZED


def test_without_a_token_host_and_origin_decide() -> None:
    assert decide(OURS, token=False) is Decision.SERVE
    assert decide((b"host", b"evil.example"), token=False) is Decision.FOREIGN_HOST


@pytest.mark.parametrize(
    ("request_line", "decision"),
    [
        ("GET /health", Decision.ALIVE),
        ("HEAD /health", Decision.ALIVE),
        ("GET http://localhost:4242/health", Decision.ALIVE),
        ("POST /health", Decision.UNAUTHORIZED),
        ("get /health", Decision.UNAUTHORIZED),
        ("GET /health/", Decision.UNAUTHORIZED),
        ("GET //health", Decision.UNAUTHORIZED),
        ("GET /%68ealth", Decision.UNAUTHORIZED),
        ("GET /healthy", Decision.UNAUTHORIZED),
        ("GET /./health", Decision.UNAUTHORIZED),
    ],
)
def test_only_the_exact_health_path_needs_no_token(request_line: str, decision: Decision) -> None:
    assert decide(OURS, request=request_line) is decision


def test_a_preflight_is_an_options_of_an_allowed_page_with_a_requested_method() -> None:
    asked = (b"access-control-request-method", b"PUT")
    assert decide(OURS, PAGE, asked, request="OPTIONS /x") is Decision.PREFLIGHT
    assert decide(OURS, asked, request="OPTIONS /x") is Decision.UNAUTHORIZED
    assert decide(OURS, PAGE, request="OPTIONS /x") is Decision.UNAUTHORIZED
    assert decide(OURS, PAGE, asked, request="GET /x") is Decision.UNAUTHORIZED


WEBSOCKET = (b"upgrade", b"WebSocket")


def test_a_websocket_carries_the_token_as_a_subprotocol() -> None:
    offered = (b"sec-websocket-protocol", b"pillion,\tpillion.bearer." + TOKEN.encode() + b" , chat")
    assert decide(OURS, WEBSOCKET, offered) is Decision.SERVE
    assert decide(OURS, offered) is Decision.UNAUTHORIZED, "no upgrade"
    assert decide(OURS, WEBSOCKET, offered, offered) is Decision.UNAUTHORIZED, "two lines"
    assert decide(OURS, (b"upgrade", b"h2c"), offered) is Decision.UNAUTHORIZED
    for wrong in (
        b"pillion.bearer.",
        b"pillion.bearer." + b"0" * 64,
        b"PILLION.BEARER." + TOKEN.encode(),
        TOKEN.encode(),
    ):
        assert decide(OURS, WEBSOCKET, (b"sec-websocket-protocol", wrong)) is Decision.UNAUTHORIZED


def test_the_app_sees_its_own_subprotocols_only() -> None:
    assert without_bearer([b"pillion, pillion.bearer.x, chat , ,v2"]) == ([b"chat", b"v2"], True)
    assert without_bearer([b"chat", b"x pillion.bearer.y"]) == ([b"chat"], False), "even if a comma is missing"
    assert without_bearer([]) == ([], False)


def test_a_proof_equals_the_output_of_openssl() -> None:
    challenge = b"000102030405060708090a0b0c0d0e0f"
    assert prove(TOKEN, 4242, challenge) == b"075d8c258d7f4bdad54f7efb6ff7d6ec756b38a443da989440c833fa0e55f806"
    assert prove(TOKEN, None, challenge) == b"a03b2937efaf949e270b1e6240d59a75e50d2d2b9cbb292119037d60b818feb8"


@pytest.mark.parametrize(
    "challenge", [b"", b"00", b"0" * 31, b"0" * 33, b"A" * 32, b"\xff" * 32, b"+" + b"0" * 31]
)
def test_an_invalid_challenge_has_no_proof(challenge: bytes) -> None:
    assert prove(TOKEN, 4242, challenge) is None


def test_health_leaves_out_what_is_unknown() -> None:
    body = b'{"status":"ok","app":"AIOS","timestamp":1700000000000,"uptime":1.25,"pillion_protocol":"1"}'
    assert Identity("AIOS", None, None).health(1_700_000_000_000, 1.25) == body
    full = Identity("AIOS", "0.1.0", "07").health(1, 2.0)
    known = b'"pillion_protocol":"1","version":"0.1.0","instance":"07"'
    assert full == b'{"status":"ok","app":"AIOS","timestamp":1,"uptime":2.0,' + known + b"}"


def test_an_answer_allows_the_page_of_the_request_and_no_other() -> None:
    app = [(b"Access-Control-Allow-Origin", b"*"), (b"vary", b"Accept")]
    assert allow_reading([PAGE], app) == [
        (b"vary", b"Accept"),
        (b"vary", b"Origin"),
        (b"access-control-allow-origin", b"tauri://localhost"),
    ]
    assert allow_reading([], app) == [(b"vary", b"Accept"), (b"vary", b"Origin")]


def test_a_preflight_allows_what_was_asked() -> None:
    asked = [
        (b"access-control-request-method", b"PUT"),
        (b"access-control-request-headers", b"authorization,x-y"),
        (b"access-control-request-private-network", b"true"),
    ]
    assert preflight(asked) == [
        (b"access-control-max-age", b"7200"),
        (b"access-control-allow-methods", b"PUT"),
        (b"access-control-allow-headers", b"authorization,x-y"),
        (b"access-control-allow-private-network", b"true"),
    ]
    assert preflight(asked[:1]) == [
        (b"access-control-max-age", b"7200"),
        (b"access-control-allow-methods", b"PUT"),
    ]
