"""The handler that docs/protocol/README.md describes."""

from __future__ import annotations

from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        seen = b", ".join(value for name, value in scope["headers"] if name == b"sec-websocket-protocol")
        chosen = "chat" if "chat" in scope["subprotocols"] else None
        headers = [(b"x-handler", b"reached"), (b"x-subprotocols", seen)]
        await send({"type": "websocket.accept", "subprotocol": chosen, "headers": headers})
        await receive()
    else:
        while (await receive()).get("more_body"):
            pass
        headers = [(b"x-handler", b"reached"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
