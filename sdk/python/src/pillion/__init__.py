"""Turns an ASGI app (FastAPI, Starlette) or a WSGI app (Flask, Django) into a private sidecar of a desktop app.

Importing this package takes the host's token and listener from the environment, so that child processes do not inherit
them. Import it before the app starts another program.

    import pillion
    from fastapi import FastAPI

    app = FastAPI()

    if __name__ == "__main__":
        pillion.serve(app)
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from . import _process_environment
from ._listener import open_listener
from ._progress import progress
from .environment import HostEnvironment, StartError

if TYPE_CHECKING:
    from ._wsgi import WSGIApp
    from .middleware import ASGIApp

__all__ = ["DEFAULT_GRACE", "StartError", "__version__", "progress", "serve", "stop_requested"]

__version__ = "0.1.0"

#: How many seconds requests in flight may take after the stop is requested. With the half second for clean-up after it,
#: it fits into the host's grace period of 5 s.
DEFAULT_GRACE = 4.0

_variables = _process_environment.take()


def serve(
    app: ASGIApp | WSGIApp | str,
    *,
    name: str | None = None,
    version: str | None = None,
    grace: float = DEFAULT_GRACE,
    **uvicorn_options: Any,
) -> None:
    """Serves `app` as a sidecar until the host asks it to stop, then returns. Call it once, from the main thread.

    It listens on 127.0.0.1 or on the listener that the host passed, announces itself when the app's start is complete,
    answers ``/health``, and passes to the app only requests that may reach it. If it cannot start, it writes the reason to
    stderr and exits with a status other than 0.

    `app` is an ASGI app, a WSGI app, which is called in threads, or ``"module:attribute"``. `name` and `version` appear in
    ``/health``; the name of the script is the default. Requests in flight at a stop have `grace` seconds; clean-up ends
    half a second later, with the process. Keep the sum below the grace period of the host. `uvicorn_options` go to
    ``uvicorn.Config``, such as ``log_level`` or ``ws_max_size``.
    """
    _become_worker()
    if grace < 0:
        raise ValueError(f"grace is {grace}: set it to 0 or more seconds")
    try:
        if threading.current_thread() is not threading.main_thread():
            raise StartError("call serve from the main thread: only it receives signals")
        variables = _take_variables()
        host = HostEnvironment.read(variables)
        listener, port = open_listener(variables)
        # Only now, because uvicorn and the app take long to import.
        from . import _server
        from ._wsgi import WSGIAdapter, interface_of

        loaded: Any = load(app) if isinstance(app, str) else app
        interface = interface_of(loaded)
        if interface is None:
            shown = f'"{app}"' if isinstance(app, str) else f"an object of the type {type(app).__qualname__}"
            raise StartError(
                f"{shown} is not an ASGI or WSGI app: it takes neither the three arguments of ASGI nor the two of WSGI. "
                "Pass such an app; declare a framework with a server of its own, such as aiohttp and Tornado, as it is, "
                'with "private": false (docs/servers.md)'
            )
        if interface == "wsgi":
            loaded = WSGIAdapter(loaded, _server.stop_requested)
        _server.run(loaded, host, listener, port, name or _script_name(), version, grace, uvicorn_options)
    except StartError as error:
        sys.exit(f"pillion: {error}")


def _become_worker() -> None:
    """In a frozen program that multiprocessing has started as a worker: does the work, and ends the process.

    multiprocessing starts `sys.executable` for each worker, and for its resource tracker. In a program of PyInstaller that
    is the program itself: without this call each of them would be one more server, which starts workers, for ever
    (https://pyinstaller.org/en/stable/common-issues-and-pitfalls.html#multi-processing).
    """
    if getattr(sys, "frozen", False):
        import multiprocessing

        multiprocessing.freeze_support()


def stop_requested() -> Awaitable[None]:
    """Waits until the sidecar is asked to stop. Outside `serve`, for example in a test, waits for ever.

    An endless response, such as an event stream, delays the stop until the grace period is over. Let it end when the
    awaitable is done.
    """
    from . import _server

    return _server.stop_requested()


def load(reference: str) -> Any:
    """Imports the app that ``"module:attribute"`` names. Raises `StartError` if it does not exist."""
    module_name, separator, attributes = reference.partition(":")
    if not (module_name and separator and attributes):
        raise StartError(f'"{reference}" names no app: write module:attribute, such as main:app')
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise StartError(f'no module "{error.name}" was found from {os.getcwd()}') from error
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            raise StartError(f'the module "{module_name}" has no attribute "{attributes}"')
        found = getattr(found, attribute)
    return found


def _take_variables() -> dict[str, str]:
    """The host's variables. A second server of this process demands the token too, but opens a port of its own."""
    variables = dict(_variables)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        _variables.pop(name, None)
    return variables


def _script_name() -> str:
    return os.path.splitext(os.path.basename(sys.argv[0]))[0] or "sidecar"
