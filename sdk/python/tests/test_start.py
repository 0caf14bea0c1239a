from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pillion import _listener

import harness
from harness import TOKEN, announced, command, environment, spawn

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def fails(expected: str, *options: str, app: str = "probe:app", **variables: str) -> str:
    """Starts a sidecar that must fail without an announcement. Returns its stderr."""
    # Without a lifeline, whose end would be a request to stop.
    with spawn(command(app, *options), environment(**variables), stdin=subprocess.DEVNULL) as process:
        stdout, stderr = process.communicate()
        assert (process.returncode != 0, stdout) == (True, b""), stderr
        assert expected in stderr.decode()
        assert "Traceback" not in stderr.decode()
        return stderr.decode()


def test_stdout_carries_the_announcement_alone_after_the_app_has_started() -> None:
    with spawn(command(), environment()) as process:
        started = announced(process)
        assert process.stderr is not None
        started.wait_for("app: starting")
        assert started.ask("GET /").status == 200
        started.close_stdin()
        assert started.end()[:2] == (0, "")


def test_a_worker_of_a_frozen_program_works_and_serves_nothing() -> None:
    program = [sys.executable, str(harness.TESTS / "apps" / "frozen_program.py")]
    with spawn([*program, "--multiprocessing-fork"], environment()) as process:
        stdout, stderr = process.communicate()
        assert (process.returncode, stdout, stderr) == (0, b"", b"app: working\n")
    with spawn(program, environment()) as process:
        started = announced(process)
        assert started.ask("GET /").status == 200


def test_it_listens_on_loopback_alone() -> None:
    with harness.sidecar() as sidecar:
        # macOS drops what is sent to 127.0.0.2, so that a connection would wait for minutes.
        for address in ("127.0.0.2", "::1") if sys.platform == "linux" else ("::1",):
            with pytest.raises(OSError, match=r"refused|[Aa]ssign|not available|unreachable"):
                socket.create_connection((address, sidecar.port or 0))


def test_it_listens_on_the_port_that_port_names() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with harness.sidecar(PORT=str(port)) as sidecar:
        assert sidecar.port == port


def test_a_taken_port_is_an_error_that_says_how_to_find_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        fails(f"pillion: port {port} of 127.0.0.1 is taken", PORT=str(port))


@pytest.mark.parametrize("port", ["0", "+80", "080", "65536", "http"])
def test_an_invalid_port_is_an_error(port: str) -> None:
    fails(f'pillion: PORT is "{port}": set it to a number from 1 to 65535', PORT=port)


def test_invalid_variables_of_the_host_are_errors() -> None:
    assert "0123" not in fails("PILLION_TOKEN is not 64", PILLION_TOKEN="0123")
    fails("PILLION_INSTANCE is", PILLION_INSTANCE="x")
    fails('lists "*"', PILLION_ALLOWED_ORIGINS="*")


def test_an_app_that_fails_to_start_announces_nothing() -> None:
    stderr = fails("no database", PROBE_START="fail")
    assert "app: starting" in stderr


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        ("probe", '"probe" names no app'),
        ("missing:app", 'no module "missing"'),
        ("probe:missing", 'has no attribute "missing"'),
        ("probe:not_an_app", "is not an ASGI or WSGI app"),
    ],
)
def test_a_wrong_reference_is_an_error(app: str, expected: str) -> None:
    fails(f"pillion: {expected}" if app == "probe" else expected, app=app)


@pytest.mark.parametrize(
    "app",
    ["42", "object()", "lambda request: None", "type('Application', (), {'__call__': lambda self: self})()"],
)
def test_an_object_that_is_no_app_starts_no_server(app: str, tmp_path: Path) -> None:
    script = tmp_path / "shop.py"
    script.write_text(f"import pillion\npillion.serve({app})\n")
    with spawn([sys.executable, str(script)], environment(), stdin=subprocess.DEVNULL) as process:
        stdout, stderr = process.communicate()
        assert (process.returncode, stdout) == (1, b"")
        assert "is not an ASGI or WSGI app" in stderr.decode(), stderr


def test_serve_takes_an_app_and_options_of_uvicorn(tmp_path: Path) -> None:
    script = tmp_path / "shop.py"
    script.write_text('import pillion, probe\npillion.serve(probe.app, version="2", access_log=True)\n')
    with spawn([sys.executable, str(script)], environment()) as process:
        sidecar = announced(process)
        health = json.loads(sidecar.ask("GET /health").body)
        assert (health["app"], health["version"]) == ("shop", "2")
        sidecar.wait_for('"GET /health HTTP/1.1" 200')
        sidecar.close_stdin()
        assert sidecar.end()[:2] == (0, ""), "the access log goes to stderr"


def test_an_option_that_the_sidecar_sets_itself_is_an_error(tmp_path: Path) -> None:
    script = tmp_path / "shop.py"
    script.write_text('import pillion, probe\npillion.serve(probe.app, host="0.0.0.0", reload=True)\n')
    with spawn([sys.executable, str(script)], environment()) as process:
        stdout, stderr = process.communicate()
        assert (process.returncode, stdout) == (1, b"")
        assert "TypeError: serve sets these options of uvicorn itself: host, reload" in stderr.decode()


def test_the_token_leaves_the_environment_on_import() -> None:
    script = "import pillion, os, subprocess; print('PILLION_TOKEN' in os.environ, flush=True); os.execlp('env', 'env')"
    with spawn([sys.executable, "-c", script], environment(PILLION_PIPE="x")) as process:
        stdout, _ = process.communicate()
    lines = stdout.decode().splitlines()
    assert lines[0] == "False"
    assert f"PILLION_INSTANCE={harness.INSTANCE}" in lines
    assert TOKEN not in stdout.decode()
    assert not any(line.startswith("PILLION_PIPE") for line in lines)


@LINUX
def test_the_token_is_overwritten_in_the_initial_environment() -> None:
    with harness.sidecar() as sidecar:
        initial = Path(f"/proc/{sidecar.process.pid}/environ").read_bytes()
        assert TOKEN.encode() not in initial
        assert b"PILLION_TOKEN=" + b"-" * 64 + b"\0" in initial
        assert f"PILLION_INSTANCE={harness.INSTANCE}".encode() in initial, "the rest is whole"
        assert TOKEN.encode() not in Path(f"/proc/{sidecar.process.pid}/cmdline").read_bytes()


def test_importing_the_package_needs_no_uvicorn() -> None:
    script = "import sys, pillion; assert 'uvicorn' not in sys.modules; sys.modules['uvicorn'] = None; pillion.serve(print)"
    with spawn([sys.executable, "-c", script], environment()) as process:
        _, stderr = process.communicate()
    assert process.returncode == 1
    assert stderr.decode() == f"pillion: serve needs uvicorn: pip install 'pillion[uvicorn]'{os.linesep}"


def test_windows_protects_no_low_ports() -> None:
    assert "excludedportrange" in _listener._forbidden(8080, "win32")
    assert "1024 or above" in _listener._forbidden(80, "linux")
