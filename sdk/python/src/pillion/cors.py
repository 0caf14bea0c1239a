"""CORS for the pages that may call. Without I/O. Admission has accepted the origin before."""

from __future__ import annotations

from .admission import Headers, values

#: How many seconds a browser may cache the answer to a preflight. Chromium caps it at two hours, Safari at ten minutes.
_PREFLIGHT_AGE = b"7200"


def allow_reading(request: Headers, response: Headers) -> list[tuple[bytes, bytes]]:
    """Lets the page of the request read the answer. ``Vary`` tells caches that the answer depends on the origin.

    It leaves out what a middleware of the app says, such as flask-cors, which names its origins in every answer.
    """
    origins = values(request, b"origin")
    headers = [(name, value) for name, value in response if name.lower() != b"access-control-allow-origin"]
    headers.append((b"vary", b"Origin"))
    headers.extend((b"access-control-allow-origin", origin) for origin in origins)
    return headers


def preflight(request: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of the answer to a preflight (<https://fetch.spec.whatwg.org/#cors-preflight-fetch>).

    It allows each requested method and header, because the routes decide which requests they accept. Older versions of
    Chromium ask whether a public page may reach a private network: https://developer.chrome.com/blog/local-network-access.
    """
    headers = [(b"access-control-max-age", _PREFLIGHT_AGE)]
    for question, answer in (
        (b"access-control-request-method", b"access-control-allow-methods"),
        (b"access-control-request-headers", b"access-control-allow-headers"),
    ):
        headers.extend((answer, asked) for asked in values(request, question)[:1])
    if values(request, b"access-control-request-private-network")[:1] == [b"true"]:
        headers.append((b"access-control-allow-private-network", b"true"))
    return headers
