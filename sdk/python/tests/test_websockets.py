from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

import harness
from harness import TOKEN, Sidecar


@pytest.fixture(scope="module")
def sidecar() -> Iterator[Sidecar]:
    with harness.sidecar() as sidecar:
        yield sidecar


def open_websocket(
    sidecar: Sidecar, offered: Sequence[str], path: str = "/", origin: str = harness.PAGE
) -> ClientConnection:
    subprotocols = [Subprotocol(offer) for offer in offered]
    # No limit: the verdict does not depend on how quick the machine is.
    return connect(
        f"ws://{sidecar.host}{path}", origin=Origin(origin), subprotocols=subprotocols, open_timeout=None
    )


def test_the_server_chooses_pillion_if_the_app_chooses_nothing_and_the_app_sees_no_token(
    sidecar: Sidecar,
) -> None:
    with open_websocket(sidecar, ["pillion", f"pillion.bearer.{TOKEN}", "chat"]) as websocket:
        seen = websocket.recv()
        assert websocket.subprotocol == "pillion"
    assert isinstance(seen, str)
    assert TOKEN not in seen
    fields = json.loads(seen)
    assert fields["subprotocols"] == ["chat"]
    assert ["sec-websocket-protocol", "chat"] in fields["headers"]


def test_the_app_chooses_its_own_subprotocol(sidecar: Sidecar) -> None:
    with open_websocket(sidecar, ["pillion", f"pillion.bearer.{TOKEN}", "chat"], "/?chat") as websocket:
        assert websocket.subprotocol == "chat"


@pytest.mark.parametrize(
    ("offered", "origin", "status"),
    [
        (["pillion"], harness.PAGE, 401),
        (["pillion", "pillion.bearer." + "0" * 64], harness.PAGE, 401),
        (["pillion", f"pillion.bearer.{TOKEN}"], "https://evil.example", 403),
    ],
)
def test_another_websocket_is_refused(sidecar: Sidecar, offered: list[str], origin: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        open_websocket(sidecar, offered, origin=origin)
    assert refused.value.response.status_code == status


def test_a_websocket_may_carry_the_token_in_the_header(sidecar: Sidecar) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with connect(f"ws://{sidecar.host}/", additional_headers=bearer, open_timeout=None) as websocket:
        assert websocket.subprotocol is None
        assert TOKEN not in str(websocket.recv())


def test_a_websocket_outlives_the_time_for_the_first_token(sidecar: Sidecar) -> None:
    with open_websocket(sidecar, ["pillion", f"pillion.bearer.{TOKEN}"], "/talk") as websocket:
        websocket.recv()
        # A connection without the token that is opened later is closed before.
        with sidecar.connect() as silent, contextlib.suppress(ConnectionResetError):
            assert silent.recv(1) == b""
        websocket.send("still open")
        with pytest.raises(Exception, match="1000"):
            websocket.recv()
