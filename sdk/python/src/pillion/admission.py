"""Rule 5 of the protocol: decides from the head of a request which requests a sidecar serves. Without I/O.

The checks run in this order, and the first one that fails decides: exactly one ``Host`` (400); ``Host`` and target name
this server (403); no ``Origin``, or exactly one that may call (403); the token (401).
"""

from __future__ import annotations

import enum
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from .environment import HostEnvironment

#: Names in lower case, with their values, as ASGI gives them.
Headers = Sequence[tuple[bytes, bytes]]

HEALTH_PATH: Final = b"/health"
#: The subprotocol that a page offers beside the one that carries the token.
SUBPROTOCOL: Final = b"pillion"
#: The prefix of the subprotocol that carries the token: a page cannot set ``Authorization`` on a WebSocket.
BEARER_SUBPROTOCOL: Final = b"pillion.bearer."

_ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
# The scheme is case-insensitive, and one or more spaces follow it (RFC 9110, sections 11.1 and 11.4).
_BEARER: Final = re.compile(rb"bearer +(.*)", re.DOTALL | re.IGNORECASE)
_SPACE: Final = b" \t\r\n\x0c"


class Decision(enum.Enum):
    """What the server does with a request."""

    SERVE = "serve"
    #: A page that may call sent a preflight: answer it without a handler.
    PREFLIGHT = "preflight"
    #: A health request without the token: answer only that the sidecar is alive.
    ALIVE = "alive"
    UNAUTHORIZED = "unauthorized"
    NO_HOST = "no host"
    SEVERAL_HOSTS = "several hosts"
    FOREIGN_HOST = "foreign host"
    FOREIGN_ORIGIN = "foreign origin"


#: Status and text of the refusals.
REFUSALS: Final = {
    Decision.UNAUTHORIZED: (401, "this server needs the token of its run as a bearer token\n"),
    Decision.NO_HOST: (400, "a request to this server needs a Host header\n"),
    Decision.SEVERAL_HOSTS: (400, "a request to this server needs exactly one Host header\n"),
    Decision.FOREIGN_HOST: (
        403,
        "the request names another server: this server is 127.0.0.1 or localhost, with its port if it has one\n",
    ),
    Decision.FOREIGN_ORIGIN: (
        403,
        "this server does not serve pages of that origin: PILLION_ALLOWED_ORIGINS lists the allowed origins\n",
    ),
}


@dataclass(frozen=True)
class Target:
    """The target of a request line without its query: neither decoded nor normalised (RFC 9112, section 3.2)."""

    scheme: bytes | None
    #: Including any user information.
    authority: bytes | None
    path: bytes

    @classmethod
    def parse(cls, target: bytes) -> Target:
        if target.startswith(b"/") or target == b"*":
            return cls(None, None, target)
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            return cls(None, target, b"")
        return cls(absolute[1], absolute[2], absolute[3] or b"/")


def values(headers: Headers, name: bytes) -> list[bytes]:
    """Every value of a header."""
    return [value for key, value in headers if key == name]


class Admission:
    """The admission rules of one server: `port` of 127.0.0.1, or None on a Unix domain socket."""

    def __init__(self, port: int | None, host: HostEnvironment) -> None:
        self._hosts = _hosts(port)
        self._origins = frozenset(origin.encode() for origin in host.origins)
        self._token = None if host.token is None else host.token.encode()

    @property
    def has_token(self) -> bool:
        return self._token is not None

    def decide(self, method: str, target: Target, headers: Headers) -> Decision:
        """Decides on one request. Looks at nothing but its head."""
        hosts = values(headers, b"host")
        if len(hosts) != 1:
            return Decision.SEVERAL_HOSTS if hosts else Decision.NO_HOST
        named = hosts if target.authority is None else [*hosts, target.authority]
        # Host names are case-insensitive (RFC 9110, section 4.2.3).
        if not all(name.lower() in self._hosts for name in named):
            return Decision.FOREIGN_HOST
        if target.scheme is not None and target.scheme.lower() != b"http":
            return Decision.FOREIGN_HOST
        origins = values(headers, b"origin")
        if len(origins) > 1 or not self._origins.issuperset(origins):
            return Decision.FOREIGN_ORIGIN
        if origins and method == "OPTIONS" and values(headers, b"access-control-request-method"):
            return Decision.PREFLIGHT
        if self._token is None or _carries(headers, self._token):
            return Decision.SERVE
        if target.path == HEALTH_PATH and method in ("GET", "HEAD"):
            return Decision.ALIVE
        return Decision.UNAUTHORIZED


def _hosts(port: int | None) -> frozenset[bytes]:
    if port is None:
        return frozenset([b"localhost"])
    names = (b"127.0.0.1", b"localhost")
    hosts = [b"%s:%d" % (name, port) for name in names]
    # Clients may omit the default port (RFC 9110, section 4.2.1).
    return frozenset([*hosts, *names] if port == 80 else hosts)


def _carries(headers: Headers, token: bytes) -> bool:
    authorization = values(headers, b"authorization")
    if len(authorization) == 1:
        bearer = _BEARER.fullmatch(authorization[0])
        if bearer is not None and hmac.compare_digest(bearer[1], token):
            return True
    upgrade, offered = values(headers, b"upgrade"), values(headers, b"sec-websocket-protocol")
    if len(upgrade) != 1 or upgrade[0].lower() != b"websocket" or len(offered) != 1:
        return False
    presented = (e[len(BEARER_SUBPROTOCOL) :] for e in elements(offered) if e.startswith(BEARER_SUBPROTOCOL))
    return any(hmac.compare_digest(guess, token) for guess in presented)


def elements(lists: Iterable[bytes]) -> list[bytes]:
    """The elements of a comma-separated list in one or more headers (RFC 9110, section 5.6.1)."""
    stripped = (element.strip(_SPACE) for element in b",".join(lists).split(b","))
    return [element for element in stripped if element]


def without_bearer(offered: Iterable[bytes]) -> tuple[list[bytes], bool]:
    """The app's own subprotocols, and whether the page offered `SUBPROTOCOL`.

    Drops each element that contains `BEARER_SUBPROTOCOL`, even in the middle, where the page forgot a comma. So no handler
    can log the token.
    """
    own, ours = [], False
    for element in elements(offered):
        if element == SUBPROTOCOL:
            ours = True
        elif BEARER_SUBPROTOCOL not in element:
            own.append(element)
    return own, ours
