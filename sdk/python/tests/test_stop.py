from __future__ import annotations

import os
import select
import signal
import socket
import sys

import pytest
from pillion._stop import has_ended, is_lifeline, move_lifeline

import harness
from harness import TOKEN, Answer, Sidecar, announced, command, environment, spawn

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def hold(sidecar: Sidecar) -> socket.socket:
    """Starts a request that is in flight until `release` sends the rest of its body."""
    connection = sidecar.connect()
    head = f"POST /hold HTTP/1.1\r\nHost: {sidecar.host}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 4\r\n\r\n"
    connection.sendall(head.encode() + b"ab")
    sidecar.wait_for("app: holding")
    return connection


def release(connection: socket.socket) -> Answer:
    connection.sendall(b"cd")
    return Answer(harness.read_to_end(connection))


@pytest.mark.parametrize("cause", ["SIGTERM", "SIGINT", "stdin"])
def test_a_stop_finishes_the_request_in_flight_and_refuses_new_ones(cause: str) -> None:
    with harness.sidecar("--grace", "600") as sidecar, hold(sidecar) as connection:
        if cause == "stdin":
            sidecar.close_stdin()
            sidecar.wait_for("stopping: the host closed stdin")
        else:
            sidecar.signal(signal.Signals[cause])
            sidecar.wait_for(f"stopping: {cause}")
        sidecar.wait_for("Waiting for connections to close")
        with pytest.raises(ConnectionRefusedError):
            sidecar.connect()
        answer = release(connection)
        assert (answer.status, answer.body[:8]) == (200, b'{"path":')
        status, stdout, stderr = sidecar.end()
        assert (status, stdout) == (0, "")
        assert "app: stopping" in stderr, "the lifespan of the app ends"
        assert "Traceback" not in stderr


def test_both_ways_at_once_are_one_request_to_stop() -> None:
    with harness.sidecar("--grace", "600") as sidecar, hold(sidecar) as connection:
        sidecar.close_stdin()
        sidecar.wait_for("stopping: the host closed stdin")
        sidecar.signal(signal.SIGTERM)
        assert release(connection).status == 200
        assert sidecar.end()[0] == 0


def test_the_log_names_one_cause_of_a_stop() -> None:
    with harness.sidecar("--grace", "600") as sidecar, hold(sidecar) as connection:
        # Both wait until the process goes on, so that it finds them together.
        sidecar.signal(signal.SIGSTOP)
        sidecar.signal(signal.SIGTERM)
        sidecar.close_stdin()
        sidecar.signal(signal.SIGCONT)
        line = sidecar.wait_for("stopping: ")[-1]
        assert line.partition("stopping: ")[2] in ("SIGTERM\n", "the host closed stdin\n")
        assert release(connection).status == 200


def test_a_second_signal_ends_it_at_once() -> None:
    for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)):
        with harness.sidecar("--grace", "600") as sidecar, hold(sidecar):
            sidecar.signal(first)
            sidecar.wait_for("stopping")
            sidecar.signal(second)
            assert sidecar.end()[0] == -second


@LINUX
def test_signals_after_the_end_of_the_lifeline_do_not_end_it_at_once() -> None:
    with harness.sidecar("--grace", "600") as sidecar, hold(sidecar) as connection:
        sidecar.close_stdin()
        sidecar.wait_for("stopping: the host closed stdin")
        for _ in range(3):
            for number in (signal.SIGTERM, signal.SIGINT):
                sidecar.signal(number)
                wait_until_delivered(sidecar.process.pid)
        assert release(connection).status == 200
        assert sidecar.end()[0] == 0


def test_has_ended_sees_the_other_end() -> None:
    reader, writer = os.pipe()
    ours, theirs = socket.socketpair()
    assert not has_ended(reader)
    assert not has_ended(ours.fileno())
    os.write(writer, b"bytes mean nothing")
    assert not has_ended(reader)
    os.close(writer)
    theirs.close()
    assert has_ended(reader)
    assert has_ended(ours.fileno())
    os.close(reader)
    ours.close()


def test_has_ended_sees_the_other_end_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    poll = select.poll

    class Poll:
        """Looks, as XNU does, only at descriptors whose events concern reading or writing."""

        def __init__(self) -> None:
            self._poll = poll()

        def register(self, descriptor: int, events: int) -> None:
            if events & (select.POLLIN | select.POLLPRI | select.POLLHUP | select.POLLOUT):
                self._poll.register(descriptor, events)

        def poll(self, timeout: int) -> list[tuple[int, int]]:
            return self._poll.poll(timeout)

    monkeypatch.setattr(select, "poll", Poll)
    test_has_ended_sees_the_other_end()


@LINUX
def test_a_second_signal_ends_a_blocked_event_loop() -> None:
    with harness.sidecar("--grace", "600") as sidecar, sidecar.connect() as connection:
        connection.sendall(
            f"GET /busy HTTP/1.1\r\nHost: {sidecar.host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        sidecar.wait_for("app: busy")
        sidecar.signal(signal.SIGTERM)
        # The first one has been handled when its handler has restored the default action.
        wait_until_default(sidecar.process.pid)
        sidecar.signal(signal.SIGTERM)
        assert sidecar.end()[0] == -signal.SIGTERM


def test_a_request_that_does_not_end_is_cut_at_the_deadline() -> None:
    with harness.sidecar("--grace", "0.2") as sidecar, sidecar.connect() as connection:
        connection.sendall(
            f"GET /forever HTTP/1.1\r\nHost: {sidecar.host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        sidecar.wait_for("app: forever")
        sidecar.signal(signal.SIGTERM)
        sidecar.end()


def test_a_thread_that_does_not_end_is_cut_at_the_deadline() -> None:
    with harness.sidecar("--grace", "0.2") as sidecar:
        assert sidecar.ask("GET /thread").status == 200
        sidecar.signal(signal.SIGTERM)
        status, _, stderr = sidecar.end()
        assert status == 1
        assert "the grace period is over, and a thread or the clean-up of the app still ran" in stderr


def test_an_app_learns_of_the_stop_and_ends_its_stream() -> None:
    with harness.sidecar("--grace", "600") as sidecar, sidecar.connect() as connection:
        connection.sendall(
            f"GET /wait HTTP/1.1\r\nHost: {sidecar.host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        sidecar.wait_for("app: waiting")
        sidecar.signal(signal.SIGTERM)
        assert Answer(harness.read_to_end(connection)).status == 200
        assert sidecar.end()[0] == 0


def test_a_stop_before_the_app_has_started_announces_nothing() -> None:
    with spawn(command("probe:app", "--grace", "600"), environment(PROBE_START="hang")) as process:
        sidecar = Sidecar(process, None)
        sidecar.wait_for("app: starting")
        sidecar.signal(signal.SIGTERM)
        status, stdout, _ = sidecar.end()
        assert (status, stdout) == (0, "")


def test_bytes_on_stdin_are_ignored() -> None:
    with harness.sidecar() as sidecar:
        assert sidecar.process.stdin is not None
        sidecar.process.stdin.write(b"quit\n" * 1000)
        sidecar.process.stdin.flush()
        assert sidecar.ask("GET /").status == 200
        sidecar.close_stdin()
        assert sidecar.end()[0] == 0


def test_a_closed_or_empty_stdin_is_no_lifeline() -> None:
    for redirect in ("<&-", "</dev/null", f"<{__file__}"):
        line = f'exec "$@" {redirect}'
        with spawn(["sh", "-c", line, "sh", *command()], environment()) as process:
            sidecar = announced(process)
            assert sidecar.ask("GET /").status == 200
            sidecar.signal(signal.SIGTERM)
            status, _, stderr = sidecar.end()
            assert status == 0
            assert "stopping: SIGTERM" in stderr


def test_the_end_of_a_socket_on_stdin_is_a_request_to_stop() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, spawn(command(), environment(), stdin=theirs.fileno()) as process:
        theirs.close()
        sidecar = announced(process)
        assert sidecar.ask("GET /").status == 200
        ours.close()
        assert sidecar.end()[0] == 0


def wait_until_delivered(pid: int) -> None:
    """Waits until no signal is pending, or the process has ended (`ShdPnd` and `State` of proc_pid_status(5))."""
    while True:
        with open(f"/proc/{pid}/status") as status:
            fields = {name: text.strip() for name, _, text in (line.partition(":") for line in status)}
        if fields["State"].startswith("Z") or int(fields["ShdPnd"], 16) == 0:
            return


def wait_until_default(pid: int) -> None:
    """Waits until the process no longer catches SIGTERM (`SigCgt` of proc_pid_status(5))."""
    bit = 1 << (signal.SIGTERM - 1)
    while True:
        with open(f"/proc/{pid}/status") as status:
            caught = next(line for line in status if line.startswith("SigCgt:"))
        if not int(caught.split()[1], 16) & bit:
            return


def test_a_moved_lifeline_is_private_and_its_old_place_is_an_empty_input() -> None:
    stdin, host_end = os.pipe()
    os.set_inheritable(stdin, True)
    lifeline = move_lifeline(stdin)
    assert (os.get_inheritable(lifeline), os.get_inheritable(stdin)) == (False, True)
    assert is_lifeline(lifeline)
    assert not is_lifeline(stdin)
    assert os.read(stdin, 1) == b""
    os.write(host_end, b"x")
    assert os.read(lifeline, 1) == b"x"
    os.close(host_end)
    assert os.read(lifeline, 1) == b""
    os.close(stdin)
    os.close(lifeline)
