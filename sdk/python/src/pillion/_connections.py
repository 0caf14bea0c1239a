"""The connections of a uvicorn server: which peers may connect, and how long a connection may go without the token."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import sys
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from .admission import Decision
from .middleware import AdmissionMiddleware, Connection, Receive, Scope, Send


def _most_connections(most: int = 256, other_descriptors: int = 128) -> int:
    """Connections at the same time. They leave descriptors free: without one, those of the app could not be accepted.

    The limit of open files is 256 in apps on macOS (`RLIMIT_NOFILE`).
    """
    if sys.platform == "win32":
        return most
    import resource

    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return most
    return max(1, min(most, descriptors - min(other_descriptors, descriptors // 2)))


#: Connections at the same time, and those that have not shown the token among them.
MOST_CONNECTIONS: Final = _most_connections()
MOST_UNPROVEN: Final = MOST_CONNECTIONS - MOST_CONNECTIONS // 4
#: How many connections asyncio accepts before it reads from one. It handles a request several rounds after it has accepted
#: the connection: if those rounds filled the pool, a new connection of the app would be evicted before its token is read.
ACCEPTED_AT_ONCE: Final = max(1, MOST_UNPROVEN // 8)
#: How many seconds a connection may exist without a request that carries the token.
FIRST_TOKEN_TIMEOUT: Final = 5.0

_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 37\r\n\r\nthis server has too many connections\n"
)

_log = logging.getLogger("pillion")


class Pool:
    """The open connections. A new one always gets in as long as one without the token exists: the oldest is closed."""

    def __init__(self, most: int = MOST_CONNECTIONS, most_unproven: int = MOST_UNPROVEN) -> None:
        self._most, self._most_unproven = most, most_unproven
        self._open: set[PooledConnection] = set()
        # From the oldest to the newest.
        self._unproven: dict[PooledConnection, None] = {}

    def enter(self, connection: PooledConnection) -> bool:
        """Returns False if connections that have shown the token hold every slot."""
        while len(self._open) >= self._most or len(self._unproven) >= self._most_unproven:
            oldest = next(iter(self._unproven), None)
            if oldest is None:
                return False
            self.leave(oldest)
            oldest.evict()
        self._open.add(connection)
        self._unproven[connection] = None
        return True

    def prove(self, connection: PooledConnection) -> None:
        self._unproven.pop(connection, None)

    def leave(self, connection: PooledConnection) -> None:
        self._open.discard(connection)
        self._unproven.pop(connection, None)


class PooledConnection(Connection):
    """A connection that holds a slot of a pool."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def open(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> bool:
        """Takes a slot. Returns False if there is none."""
        if not self._pool.enter(self):
            return False
        self._transport = transport
        self._timer = loop.call_later(FIRST_TOKEN_TIMEOUT, self.evict)
        return True

    def prove(self) -> None:
        super().prove()
        self._cancel_timer()
        self._pool.prove(self)

    def evict(self) -> None:
        """Closes the connection at once. Its client has not shown the token."""
        _log.debug("closed a connection that has not shown the token")
        self._cancel_timer()
        if self._transport is not None:
            self._transport.abort()

    def leave(self) -> None:
        """Frees the slot: the connection has ended, or belongs to a WebSocket."""
        self._cancel_timer()
        self._transport = None
        self._pool.leave(self)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def http_protocol(middleware: AdmissionMiddleware) -> type[asyncio.Protocol]:
    """The HTTP protocol of a server in front of `middleware`.

    It is based on h11, because httptools does not tell the authority of a target in absolute form, which admission needs.
    """
    pool = Pool()

    class PrivateProtocol(H11Protocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._connection = connection = PooledConnection(pool)
            self._is_open = False

            async def app(scope: Scope, receive: Receive, send: Send) -> None:
                await middleware.answer(scope, receive, send, connection)

            self.app = app

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            if not is_peer_allowed(transport.get_extra_info("socket")):
                _log.warning("rejected a connection of another user")
                transport.abort()
                return
            if not self._connection.open(transport, asyncio.get_running_loop()):
                transport.write(_FULL)
                transport.close()
                return
            self._is_open = True
            super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            if self._is_open:
                super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            self._connection.leave()
            if self._is_open:
                super().connection_lost(exc)

        def _should_upgrade(self) -> bool:
            # The WebSocket library answers a malformed handshake itself. Admission comes first.
            return super()._should_upgrade() and (
                middleware.decide(self.scope["method"], self.scope["raw_path"], self.headers) is Decision.SERVE
            )

        def handle_websocket_upgrade(self, event: Any) -> None:
            self._connection.leave()
            super().handle_websocket_upgrade(event)

    return PrivateProtocol


def is_peer_allowed(connection: socket.socket) -> bool:
    """Whether the peer of a Unix domain socket belongs to the user that runs the sidecar (`SO_PEERCRED`, unix(7)).

    The directory of the socket should already keep other users out. Only Linux tells Python the user of the peer.
    """
    if sys.platform != "linux" or connection.family != socket.AF_UNIX:
        return True
    # struct ucred: pid, uid, gid.
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    _pid, user, _group = struct.unpack("iII", credentials)
    return bool(user == os.geteuid())
