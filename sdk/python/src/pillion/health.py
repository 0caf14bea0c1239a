"""Rules 2 and 5 of the protocol: the body of ``/health``, and the proof that the sidecar holds the token. Without I/O."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Final

from .environment import PROTOCOL_VERSION, is_hexadecimal

#: The body for a client without the token.
ALIVE: Final = b'{"status":"ok"}'


@dataclass(frozen=True)
class Identity:
    """The fields of the health that stay the same."""

    app: str
    version: str | None
    instance: str | None

    def health(self, timestamp: int, uptime: float) -> bytes:
        """The body: `timestamp` in milliseconds since the Unix epoch, `uptime` in seconds."""
        fields: dict[str, object] = {"status": "ok", "app": self.app, "timestamp": timestamp, "uptime": uptime}
        fields["pillion_protocol"] = PROTOCOL_VERSION
        fields.update(
            (name, value) for name in ("version", "instance") if (value := getattr(self, name)) is not None
        )
        return json.dumps(fields, separators=(",", ":")).encode()


def prove(token: str, port: int | None, challenge: bytes) -> bytes | None:
    """The proof for a challenge, or None if it is not one. `port` is None on a Unix domain socket.

    The HMAC covers the address, so that a program on another port cannot obtain the proof from this sidecar.
    """
    text = challenge.decode("latin-1")
    if not is_hexadecimal(text, 32):
        return None
    address = "localhost" if port is None else f"127.0.0.1:{port}"
    message = f"pillion-health {address} {text}"
    return hmac.new(token.encode(), message.encode(), hashlib.sha256).hexdigest().encode()
