"""Serves a WSGI app (PEP 3333: Flask, Django, Bottle) as an ASGI app, each request in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, Literal

from .admission import Headers
from .middleware import Message, Receive, Scope, Send

Environ = dict[str, Any]
ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None]
WSGIApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

#: How much of a request's body is kept in memory. A larger one goes to a temporary file.
_BODY_IN_MEMORY: Final = 1 << 20


def interface_of(app: Any) -> Literal["asgi", "wsgi"] | None:
    """The interface of `app`, by its arguments: three are ASGI, two WSGI. `None`: another kind, such as aiohttp's."""
    if not callable(app):
        return None
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        # A callable in C that does not describe itself.
        return "asgi"
    if _takes(signature, 3):
        return "asgi"
    return "wsgi" if _takes(signature, 2) else None


def _takes(signature: inspect.Signature, arguments: int) -> bool:
    try:
        signature.bind(*range(arguments))
    except TypeError:
        return False
    return True


class WSGIAdapter:
    """An ASGI app that calls a WSGI app.

    An event stream ends when `stop_requested` returns, because its generator waits in a thread, and no other thread can
    end that. Its client opens it again.
    """

    def __init__(self, app: WSGIApp, stop_requested: Callable[[], Any]) -> None:
        self._app = app
        self._stop_requested = stop_requested
        self._threads = _Threads()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
        elif scope["type"] == "websocket":
            await receive()
            # The server answers 403: WSGI has no WebSockets.
            await send({"type": "websocket.close", "code": 1000})
        else:
            with tempfile.SpooledTemporaryFile(_BODY_IN_MEMORY) as body:
                size = await _read_body(receive, body)
                if size is not None:
                    exchange = _Exchange(send, self._stop_requested)
                    self._threads.run(lambda: exchange.call(self._app, environ(scope, body, size)))
                    await exchange.wait(receive)


class _Threads:
    """Threads that are used again. They are daemons: one that the app blocks must not keep the process from its end."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0

    def run(self, job: Callable[[], None]) -> None:
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
                self._jobs.put(job)
                return
        threading.Thread(target=self._work, args=(job,), name="pillion-wsgi", daemon=True).start()

    def _work(self, job: Callable[[], None]) -> None:
        while True:
            job()
            with self._lock:
                self._idle += 1
            job = self._jobs.get()


class _Over(Exception):
    """Ends the app's answer that no client reads any more."""


class _Exchange:
    """One request and its answer. `call` runs in a thread, all else in the event loop."""

    def __init__(self, send: Send, stop_requested: Callable[[], Any]) -> None:
        self._send = send
        self._stop_requested = stop_requested
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._head: Message | None = None
        self._head_sent = False
        self._over = False
        self._at_stop: asyncio.Task[None] | None = None

    async def wait(self, receive: Receive) -> None:
        """Returns when the answer is complete, its client has gone, or the sidecar stops and it is an event stream."""
        disconnect = asyncio.create_task(self._watch_client(receive))
        try:
            await self._done
        finally:
            self._over = True
            disconnect.cancel()
            if self._at_stop is not None:
                self._at_stop.cancel()

    async def _watch_client(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._settle(None)

    async def _end_at_stop(self) -> None:
        await self._stop_requested()
        self._over = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        self._settle(None)

    async def _deliver(self, message: Message) -> None:
        if self._over:
            raise _Over
        await self._send(message)
        if message["type"] == "http.response.start" and _is_event_stream(message["headers"]):
            self._at_stop = asyncio.create_task(self._end_at_stop())

    def _settle(self, error: BaseException | None) -> None:
        if self._done.done():
            return
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(error)

    def call(self, app: WSGIApp, request: Environ) -> None:
        """Calls the app in this thread, and sends its answer."""
        error: BaseException | None = None
        try:
            answer = app(request, self._start_response)
            try:
                # The first event may be far away, and the page waits for the head.
                if self._head is not None and _is_event_stream(self._head["headers"]):
                    self._send_head()
                for chunk in answer:
                    self._write(chunk)
                self._finish()
            finally:
                # The app's clean-up of the request (PEP 3333).
                if (close := getattr(answer, "close", None)) is not None:
                    close()
        except BaseException as raised:
            error = raised
        # It fails if the loop is closed: the server has ended.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settle, error)

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExceptionInfo | None = None
    ) -> Callable[[bytes], None]:
        if exc_info is not None and self._head_sent:
            raise exc_info[1].with_traceback(exc_info[2])
        if exc_info is None and self._head is not None:
            raise AssertionError("the WSGI app has called start_response twice")
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._head = {"type": "http.response.start", "status": int(status[:3]), "headers": encoded}
        return self._write

    def _write(self, chunk: bytes) -> None:
        if self._over:
            raise _Over
        # The head waits for the first bytes, because the app may still replace it (PEP 3333).
        if chunk:
            self._send_head()
            self._pass({"type": "http.response.body", "body": chunk, "more_body": True})

    def _finish(self) -> None:
        self._send_head()
        self._pass({"type": "http.response.body", "body": b"", "more_body": False})

    def _send_head(self) -> None:
        if self._head is None:
            raise AssertionError("the WSGI app has not called start_response")
        if not self._head_sent:
            self._head_sent = True
            self._pass(self._head)

    def _pass(self, message: Message) -> None:
        """Returns when the server has taken the message: the app makes chunks no faster than the client reads them."""
        asyncio.run_coroutine_threadsafe(self._deliver(message), self._loop).result()


async def _read_body(receive: Receive, body: Any) -> int | None:
    """Writes the body of the request to `body`, and returns its length. None if the client has gone."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        size += body.write(message.get("body", b""))
        more = message.get("more_body", False)
    body.seek(0)
    return size


def _is_event_stream(headers: Headers) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)


def environ(scope: Scope, body: Any, size: int) -> Environ:
    """The request as WSGI describes it. Text is bytes in latin-1 (PEP 3333)."""
    # A Unix domain socket has a path, and no port.
    server, client = scope.get("server") or ("", None), scope.get("client")
    found: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": scope.get("root_path", "").encode().decode("latin-1"),
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0] if server[1] else "localhost",
        "SERVER_PORT": str(server[1] or 80),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if client:
        found["REMOTE_ADDR"] = client[0]
    for name, value in scope["headers"]:
        # A name with an underscore would pass for the one with a hyphen.
        if b"_" in name:
            continue
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        if key in found:
            text = f"{found[key]}{';' if key == 'HTTP_COOKIE' else ','} {text}"
        found[key] = text
    # Also for a body in chunks, which is complete here.
    if size > 0 or "CONTENT_LENGTH" in found:
        found["CONTENT_LENGTH"] = str(size)
    found.pop("HTTP_TRANSFER_ENCODING", None)
    return found
