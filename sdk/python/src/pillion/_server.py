"""Runs the app on uvicorn as a sidecar."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import socket
import sys
from collections.abc import Generator, Mapping
from typing import Any, Final

from ._listener import BLOCKED_BY_BROWSERS, announce
from ._stop import Stop
from .environment import HostEnvironment, StartError
from .middleware import AdmissionMiddleware, ASGIApp

try:
    import uvicorn
    from uvicorn.config import LOGGING_CONFIG

    from ._connections import ACCEPTED_AT_ONCE, http_protocol
except ImportError as error:
    if error.name is None or error.name.partition(".")[0] not in ("uvicorn", "h11"):
        raise
    sys.exit("pillion: serve needs uvicorn: pip install 'pillion[uvicorn]'")

#: Bytes in the head of a request.
_HEAD_BYTES: Final = 64 << 10

#: The options of uvicorn that the sidecar sets.
# fmt: off
_OWN_OPTIONS: Final = frozenset([
    "app", "host", "port", "uds", "fd", "http", "http2", "interface", "reload", "reload_dirs",
    "reload_delay", "reload_includes", "reload_excludes", "workers", "proxy_headers", "forwarded_allow_ips",
    "root_path", "factory", "timeout_graceful_shutdown", "h11_max_incomplete_event_size", "ssl_keyfile",
    "ssl_certfile", "ssl_keyfile_password", "ssl_version", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ciphers",
    "ssl_context_factory",
])
# fmt: on

_log = logging.getLogger("pillion")


def run(
    app: ASGIApp,
    host: HostEnvironment,
    listener: socket.socket,
    port: int | None,
    name: str,
    version: str | None,
    grace: float,
    options: Mapping[str, Any],
) -> Stop:
    """Serves `app` on `listener` until the stop is requested and the requests in flight have finished.

    Raises `StartError`.
    """
    taken = sorted(_OWN_OPTIONS.intersection(options))
    if taken:
        raise TypeError(f"serve sets these options of uvicorn itself: {', '.join(taken)}")
    middleware = AdmissionMiddleware(app, host, port, name, version)
    config = uvicorn.Config(
        middleware,
        http=http_protocol(middleware),
        interface="asgi3",
        workers=1,
        # Clients are on this machine. A header of theirs must not change the address that the app sees.
        proxy_headers=False,
        h11_max_incomplete_event_size=_HEAD_BYTES,
        timeout_graceful_shutdown=grace,  # type: ignore[arg-type]  # It goes to asyncio.wait_for, which takes a float.
        **{"access_log": False, "log_config": _logging_to_stderr(), **options},
    )
    queue, config.backlog = config.backlog, ACCEPTED_AT_ONCE
    if host.token is None:
        _log.info("PILLION_TOKEN is not set: every program that reaches this server may call")
    if port in BLOCKED_BY_BROWSERS:
        _log.warning("browsers and webviews refuse to call port %d: choose another port", port)
    # Watches before the announcement: the host may request the stop right after it.
    stop = _current[0] = Stop(grace)
    server = SidecarServer(config, stop, port, queue)
    server.run([listener])
    if not server.started and stop.cause is None:
        raise StartError("the app did not start: its error is above")
    return stop


_current: list[Stop | None] = [None]


async def stop_requested() -> None:
    """Returns when the sidecar is asked to stop; at once if it has been. Outside `serve`, never returns.

    An endless response, such as an event stream, delays the stop until the grace period is over. Let it end when this
    function returns.
    """
    if (stop := _current[0]) is None:
        await asyncio.Event().wait()
    else:
        await stop.wait()


class SidecarServer(uvicorn.Server):
    """Announces itself when the app has started, and stops by `Stop` instead of uvicorn's own signal handlers."""

    def __init__(self, config: uvicorn.Config, stop: Stop, port: int | None, queue: int) -> None:
        super().__init__(config)
        self._queue = queue
        self._stop = stop
        self._port = port
        self._watcher: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # uvicorn would raise the signal again after the stop, so that the process would not exit with 0.
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._stop.attach()
        stopped = asyncio.create_task(self._stop.wait())
        starting = asyncio.create_task(self._start(sockets))
        await asyncio.wait([stopped, starting], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            # Nothing is in flight. The end of the loop cancels the app's start, which still runs its clean-up.
            starting.cancel()
            await asyncio.wait([starting])
            self.should_exit = True
            _log.info("stopped before the app had started: %s", self._stop.cause)
            return
        starting.result()
        if not self.started:
            stopped.cancel()
            return
        self._watcher = asyncio.create_task(self._watch(stopped))
        announce(self._port)
        where = "the socket of the host" if self._port is None else f"http://127.0.0.1:{self._port}"
        _log.info("listening on %s", where)

    async def _start(self, sockets: list[socket.socket] | None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            # The start of the app has failed, and uvicorn has logged why.
            self.should_exit = True
            return
        # asyncio takes one number for the queue of the system, and for how many connections it accepts at once.
        for listener in sockets or []:
            listener.listen(self._queue)

    async def _watch(self, stopped: asyncio.Task[None]) -> None:
        await stopped
        _log.info("stopping: %s", self._stop.cause)
        self.should_exit = True


def _logging_to_stderr() -> dict[str, Any]:
    """uvicorn's own configuration, with its access log on stderr: stdout carries the announcement."""
    config = copy.deepcopy(LOGGING_CONFIG)
    config["handlers"]["access"]["stream"] = "ext://sys.stderr"
    config["loggers"]["pillion"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config
