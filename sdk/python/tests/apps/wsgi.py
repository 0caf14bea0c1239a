"""A plain WSGI app that shows tests what it sees, and answers as they ask."""

from __future__ import annotations

import atexit
import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Start = Callable[..., Any]

atexit.register(lambda: say("app: the process ends"))


def app(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/crash":
        raise RuntimeError("the app has a bug")
    if path == "/silent":
        return []
    if path == "/events":
        start("200 OK", [("Content-Type", "text/event-stream; charset=utf-8")])
        return events("?later" not in f"?{environ['QUERY_STRING']}")
    if path == "/numbers":
        start("200 OK", [("Content-Type", "text/plain")])
        return numbers()
    if path == "/replaced":
        return replaced(start)
    body = environ["wsgi.input"].read()
    seen = {name: value for name, value in environ.items() if isinstance(value, str)}
    answer = json.dumps({"environ": seen, "body": body.decode(), "thread": threading.get_ident()}).encode()
    start("201 Created", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]


def events(first: bool) -> Iterator[bytes]:
    if first:
        yield b"data: first\n\n"
    say("app: waiting for an event")
    threading.Event().wait()  # No event ever comes.


def numbers() -> Iterator[bytes]:
    """An answer without an end."""
    try:
        number = 0
        while True:
            yield f"{number}\n".encode() * 1000
            number += 1
    finally:
        say("app: closed")


def replaced(start: Start) -> Iterator[bytes]:
    start("200 OK", [])
    try:
        raise RuntimeError("the app has a bug")
    except RuntimeError:
        start("418 I'm a teapot", [], sys.exc_info())
    yield b"tea"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
