"""Rules 1 and 4 of the protocol: the variables that the host sets, as values. Without I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

PORT: Final = "PORT"
PROTOCOL: Final = "PILLION_PROTOCOL"
INSTANCE: Final = "PILLION_INSTANCE"
TOKEN: Final = "PILLION_TOKEN"  # noqa: S105 (the name of the variable)
ALLOWED_ORIGINS: Final = "PILLION_ALLOWED_ORIGINS"
PIPE: Final = "PILLION_PIPE"
LISTEN_PID: Final = "LISTEN_PID"
LISTEN_FDS: Final = "LISTEN_FDS"
LISTEN_FDNAMES: Final = "LISTEN_FDNAMES"

#: The origins of Tauri's own pages: on macOS and Linux; on Windows and Android; the latter with ``useHttpsScheme``.
TAURI_ORIGINS: Final = ("tauri://localhost", "http://tauri.localhost", "https://tauri.localhost")

#: The version of the protocol that this SDK speaks.
PROTOCOL_VERSION: Final = "1"

#: The number of digits of a token.
TOKEN_DIGITS: Final = 64

# An origin as browsers write it (RFC 6454, section 6.1): no path, no user information, no wildcard, and not `null`, which
# all sandboxed pages share.
_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._~%!$&'()+,;=-]+)(:(?P<port>[0-9]+))?"
)


class StartError(Exception):
    """Why a sidecar cannot start. It has not announced itself. The text says what to do."""


@dataclass(frozen=True)
class HostEnvironment:
    """The values of the host. An empty variable counts as unset, because shells often set variables to nothing."""

    #: The nonce that ``/health`` returns.
    instance: str | None
    #: The token that every request has to carry. ``repr`` does not show it.
    token: str | None = field(repr=False)
    #: The origins whose pages may call.
    origins: tuple[str, ...]

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> HostEnvironment:
        """Reads the variables. Raises `StartError` if one has an invalid value."""
        version = variables.get(PROTOCOL) or PROTOCOL_VERSION
        if not re.fullmatch(r"1(\.(0|[1-9][0-9]*))?", version):
            raise StartError(
                f'the host speaks version "{version}" of Pillion\'s protocol ({PROTOCOL}), and this sidecar speaks version '
                f"{PROTOCOL_VERSION}: update the older one of the two, so that both speak the same major version; "
                "without a host, unset the variable"
            )
        instance = variables.get(INSTANCE) or None
        if instance is not None and not is_hexadecimal(instance, 32):
            raise StartError(
                f'{INSTANCE} is "{instance}", not 32 lower-case hexadecimal digits: '
                "unset it, only a Pillion host sets it"
            )
        token = variables.get(TOKEN) or None
        if token is not None and not is_hexadecimal(token, TOKEN_DIGITS):
            # Its value may be part of a secret, so the error does not show it.
            raise StartError(
                f"{TOKEN} is not {TOKEN_DIGITS} lower-case hexadecimal digits: unset it, only a Pillion host sets it"
            )
        return cls(instance, token, parse_origins(variables.get(ALLOWED_ORIGINS, "")))


def is_hexadecimal(text: str, digits: int) -> bool:
    """Whether `text` has exactly this many digits, in lower case."""
    return len(text) == digits and all(character in "0123456789abcdef" for character in text)


def parse_port(text: str) -> int | None:
    """The port that ``PORT`` names, or None if it is empty. Raises `StartError` if it is not a port."""
    if not text:
        return None
    if re.fullmatch(r"[1-9][0-9]{0,4}", text) and int(text) <= 65535:
        return int(text)
    raise StartError(
        f'{PORT} is "{text}": set it to a number from 1 to 65535, or unset it to let the system choose'
    )


def parse_origins(text: str) -> tuple[str, ...]:
    """The origins of a comma-separated list; Tauri's own if it is empty. Raises `StartError` for another entry."""
    if not text:
        return TAURI_ORIGINS
    origins = tuple(entry for entry in (entry.strip() for entry in text.split(",")) if entry)
    for origin in origins:
        if not _is_origin(origin):
            raise StartError(
                f'{ALLOWED_ORIGINS} lists "{origin}", which is not an origin: '
                "write scheme://host or scheme://host:port"
            )
    return origins


def _is_origin(text: str) -> bool:
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return False
    port = match["port"]
    return port is None or (not port.startswith("0") and int(port) <= 65535)
