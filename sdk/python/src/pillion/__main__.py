"""``python -m pillion app:app`` serves an ASGI or WSGI app as a sidecar."""

from __future__ import annotations

import argparse

from . import DEFAULT_GRACE, __version__, serve


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pillion", description="Serve an ASGI or WSGI app as a private sidecar of a desktop app."
    )
    parser.add_argument("app", metavar="MODULE:ATTRIBUTE", help="the app, for example main:app")
    parser.add_argument("--name", help="the name that /health shows (default: the name of the module)")
    parser.add_argument("--app-version", metavar="VERSION", help="the version that /health shows")
    parser.add_argument(
        "--grace",
        type=float,
        default=DEFAULT_GRACE,
        metavar="SECONDS",
        help="how long requests in flight may take at a stop (default: %(default)s)",
    )
    parser.add_argument("--log-level", metavar="LEVEL", help="the level of uvicorn's log, on stderr")
    parser.add_argument("--version", action="version", version=f"pillion {__version__}")
    arguments = parser.parse_args()
    options = {} if arguments.log_level is None else {"log_level": arguments.log_level}
    name = arguments.name or arguments.app.partition(":")[0].rpartition(".")[2]
    serve(arguments.app, name=name, version=arguments.app_version, grace=arguments.grace, **options)


if __name__ == "__main__":
    main()
