"""A plain ASGI app that shows tests what it sees, and answers as they ask."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from typing import Any

import pillion


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await websocket(scope, receive, send)
    else:
        await http(scope, receive, send)


async def lifespan(receive: Any, send: Any) -> None:
    await receive()
    say("app: starting")
    if os.environ.get("PROBE_START") == "fail":
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        return
    if os.environ.get("PROBE_START") == "hang":
        await asyncio.Event().wait()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    say("app: stopping")
    await send({"type": "lifespan.shutdown.complete"})


async def http(scope: Any, receive: Any, send: Any) -> None:
    path = scope["path"]
    if path == "/crash":
        raise RuntimeError("the app has a bug")
    if path == "/hold":
        # In flight until the client has sent the whole body.
        say("app: holding")
        while (await receive()).get("more_body"):
            pass
    if path == "/wait":
        say("app: waiting")
        await pillion.stop_requested()
    if path == "/forever":
        say("app: forever")
        await asyncio.Event().wait()
    if path == "/thread":
        threading.Thread(target=threading.Event().wait).start()
    if path == "/busy":
        say("app: busy")
        threading.Event().wait()  # Blocks the event loop.
    if path == "/child":
        script = "import os, json; print(json.dumps([dict(os.environ), os.listdir('/proc/self/fd')]))"
        child = [sys.executable, "-c", script]
        seen: Any = json.loads(
            subprocess.run(child, close_fds=False, stdout=subprocess.PIPE, check=True).stdout
        )
    else:
        seen = shown(scope)
    body = json.dumps(seen).encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"access-control-allow-origin", b"*")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def websocket(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    chosen = scope["query_string"].decode() or None
    await send({"type": "websocket.accept", "subprotocol": chosen})
    await send({"type": "websocket.send", "text": json.dumps(shown(scope))})
    if scope["path"] == "/talk":
        await receive()
    await send({"type": "websocket.close"})


def shown(scope: Any) -> dict[str, Any]:
    headers = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
    return {
        "path": scope["path"],
        "raw_path": scope["raw_path"].decode(),
        "headers": headers,
        "subprotocols": scope.get("subprotocols"),
        "environ": dict(os.environ),
    }


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


not_an_app = None
