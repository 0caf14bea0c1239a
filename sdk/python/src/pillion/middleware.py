"""The ASGI middleware in front of the app: admission, health, CORS, and the token hidden from the app."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import quote, unquote

from . import cors
from .admission import (
    HEALTH_PATH,
    REFUSALS,
    SUBPROTOCOL,
    Admission,
    Decision,
    Headers,
    Target,
    values,
    without_bearer,
)
from .environment import HostEnvironment
from .health import ALIVE, Identity, prove

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

#: How much of a refused request's body the sidecar discards before it closes the connection (RFC 9112, section 9.6).
_LINGER_BYTES: Final = 256 << 20
_LINGER_TIME: Final = 30.0
_LINGER_IDLE_TIME: Final = 2.0

_JSON: Final = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
_CLOSE: Final = (b"connection", b"close")
_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")

_log = logging.getLogger("pillion")


class Connection:
    """What the server knows about one connection."""

    def __init__(self) -> None:
        #: Whether a request on it was served, which takes the token if the sidecar has one.
        self.proven = False

    def prove(self) -> None:
        self.proven = True


class AdmissionMiddleware:
    """Passes only the requests of the host's app to `app`. A pure ASGI app, for any server.

    The server has to set ``raw_path``, as uvicorn and Hypercorn do: an exact path decides whether a request needs a token.
    """

    def __init__(
        self, app: ASGIApp, host: HostEnvironment, port: int | None, name: str, version: str | None
    ) -> None:
        self._app = app
        self._port = port
        self._token = host.token
        self._admission = Admission(port, host)
        self._identity = Identity(name, version, host.instance)
        self._started = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request on a connection of which nothing is known: a refusal always closes it."""
        await self.answer(scope, receive, send, Connection())

    def decide(self, method: str, target: bytes, headers: Headers) -> Decision:
        """Decides on a request: `target` is that of the request line, without the query."""
        return self._admission.decide(method, Target.parse(target), headers)

    async def answer(self, scope: Scope, receive: Receive, send: Send, connection: Connection) -> None:
        """Answers one request of `connection`."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers: Headers = scope["headers"]
        method = scope.get("method", "GET")  # A WebSocket starts with GET (RFC 6455, section 4.1).
        target = Target.parse(scope.get("raw_path") or quote(scope["path"]).encode())
        decision = self._admission.decide(method, target, headers)
        websocket = scope["type"] == "websocket"
        if decision is Decision.SERVE:
            connection.prove()
            if target.path == HEALTH_PATH and method in ("GET", "HEAD") and not websocket:
                body = self._identity.health(time.time_ns() // 1_000_000, time.monotonic() - self._started)
                await _respond(send, 200, cors.allow_reading(headers, _JSON), body)
            else:
                await self._serve(scope, receive, send, target)
        elif decision is Decision.PREFLIGHT:
            answer = cors.allow_reading(headers, cors.preflight(headers))
            await _respond(send, 204, answer, b"")
        elif decision is Decision.ALIVE:
            await _respond(send, 200, cors.allow_reading(headers, [*_JSON, *self._proof(headers)]), ALIVE)
        else:
            await self._refuse(scope, receive, send, decision, connection)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, target: Target) -> None:
        request: Headers = scope["headers"]
        hidden, choose = self._hide_token(scope)
        if target.authority is not None:
            # Apps expect the origin form.
            hidden["raw_path"], hidden["path"] = target.path, unquote(target.path.decode("latin-1"))
        started = False

        async def readable(message: Message) -> None:
            nonlocal started
            kind = message["type"]
            if kind in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
                started = True
                message = {**message, "headers": cors.allow_reading(request, list(message.get("headers", ())))}
                if kind == "websocket.accept" and choose and not _chooses(message):
                    message["subprotocol"] = SUBPROTOCOL.decode()
            await send(message)

        try:
            await self._app(hidden, receive, readable)
        except Exception:
            if not started and scope["type"] == "http":
                # The server would answer without CORS headers, and the page would not learn the status.
                await _respond(readable, 500, [_TEXT, _CLOSE], b"Internal Server Error")
            raise

    def _hide_token(self, scope: Scope) -> tuple[Scope, bool]:
        """The scope for the app, and whether the answer chooses `SUBPROTOCOL` if the app chooses none."""
        # Credentials for a proxy (RFC 9110, section 11.7.2), which no app needs.
        dropped = {b"proxy-authorization", b"sec-websocket-protocol"}
        if self._token is not None:
            dropped.add(b"authorization")
        request: Headers = scope["headers"]
        headers = [(name, value) for name, value in request if name not in dropped]
        own, choose = without_bearer(values(request, b"sec-websocket-protocol"))
        if own:
            headers.append((b"sec-websocket-protocol", b", ".join(own)))
        hidden = {**scope, "headers": headers}
        if scope["type"] == "websocket":
            hidden["subprotocols"] = [element.decode("latin-1") for element in own]
        return hidden, choose

    def _proof(self, headers: Headers) -> Headers:
        challenges = values(headers, b"pillion-challenge")
        if self._token is None or len(challenges) != 1:
            return []
        proof = prove(self._token, self._port, challenges[0])
        return [] if proof is None else [(b"pillion-proof", proof)]

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, decision: Decision, connection: Connection
    ) -> None:
        status, text = REFUSALS[decision]
        _log.debug("refused a request: %s", decision.value)
        headers: list[tuple[bytes, bytes]] = [_TEXT]
        if decision is Decision.UNAUTHORIZED:
            headers = cors.allow_reading(scope["headers"], [_TEXT, (b"www-authenticate", b"Bearer")])
        if scope["type"] == "websocket":
            await _refuse_websocket(scope, receive, send, status, headers, text.encode())
        elif connection.proven:
            await _respond(send, status, headers, text.encode())
        else:
            await _respond(send, status, [*headers, _CLOSE], text.encode(), linger=_lingering(scope, receive))


async def _respond(
    send: Send, status: int, headers: Headers, body: bytes, linger: Callable[[], Awaitable[None]] | None = None
) -> None:
    if status != 204:
        headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if linger is not None:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await linger()
        body = b""
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _lingering(scope: Scope, receive: Receive) -> Callable[[], Awaitable[None]] | None:
    """Discards the rest of the body: closing the connection before would destroy an answer that the client has not read."""
    if values(scope["headers"], b"expect"):
        # Such a client waits for the answer before it sends the body (RFC 9110, section 10.1.1).
        return None

    async def discard() -> None:
        discarded, deadline = 0, time.monotonic() + _LINGER_TIME
        while discarded < _LINGER_BYTES and time.monotonic() < deadline:
            try:
                message = await asyncio.wait_for(receive(), _LINGER_IDLE_TIME)
            except asyncio.TimeoutError:
                return
            if message["type"] != "http.request" or not message.get("more_body", False):
                return
            discarded += len(message.get("body", b""))

    return discard


async def _refuse_websocket(
    scope: Scope, receive: Receive, send: Send, status: int, headers: Headers, body: bytes
) -> None:
    await receive()  # `websocket.connect`
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008})  # The server answers 403.
        return
    await send({"type": "websocket.http.response.start", "status": status, "headers": [*headers, _CLOSE]})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})


def _chooses(accept: Message) -> bool:
    """Whether the app has chosen a subprotocol."""
    named = any(name.lower() == b"sec-websocket-protocol" for name, _ in accept.get("headers", ()))
    return named or accept.get("subprotocol") is not None
