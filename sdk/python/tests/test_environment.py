from __future__ import annotations

import pytest
from pillion._process_environment import token_offset
from pillion.environment import TAURI_ORIGINS, HostEnvironment, StartError, parse_origins, parse_port


def test_an_empty_variable_counts_as_unset() -> None:
    names = ("PILLION_TOKEN", "PILLION_INSTANCE", "PILLION_ALLOWED_ORIGINS")
    assert HostEnvironment.read(dict.fromkeys(names, "")) == HostEnvironment.read({})
    assert HostEnvironment.read({}) == HostEnvironment(None, None, TAURI_ORIGINS)
    assert parse_port("") is None


@pytest.mark.parametrize("port", ["1", "80", "4242", "65535"])
def test_a_port_is_decimal(port: str) -> None:
    assert parse_port(port) == int(port)


@pytest.mark.parametrize(
    "port", ["0", "+80", "-1", "080", " 80", "80 ", "80\n", "65536", "999999", "abc", "٨٠", "8_0"]
)
def test_another_port_is_an_error_that_shows_its_value(port: str) -> None:
    with pytest.raises(StartError) as error:
        parse_port(port)
    assert f'PORT is "{port}": set it to a number from 1 to 65535' in str(error.value)


@pytest.mark.parametrize("instance", ["x", "0700FF10" * 4, "0" * 31, "0" * 33, "+" + "0" * 31])
def test_an_invalid_instance_is_an_error(instance: str) -> None:
    with pytest.raises(StartError, match="PILLION_INSTANCE"):
        HostEnvironment.read({"PILLION_INSTANCE": instance})


@pytest.mark.parametrize("token", ["0123", "0123" * 16 + "0", "A5" * 32, "0123 secret"])
def test_the_error_of_an_invalid_token_does_not_show_it(token: str) -> None:
    with pytest.raises(StartError) as error:
        HostEnvironment.read({"PILLION_TOKEN": token})
    assert "0123" not in str(error.value)
    assert "A5A5" not in str(error.value)


def test_repr_does_not_show_the_token() -> None:
    assert "a5a5" not in repr(HostEnvironment.read({"PILLION_TOKEN": "a5" * 32}))


def test_origins_are_a_comma_separated_list() -> None:
    assert parse_origins(" tauri://localhost , http://[::1]:1420,,") == (
        "tauri://localhost",
        "http://[::1]:1420",
    )
    assert parse_origins(",") == ()


@pytest.mark.parametrize(
    "origin",
    [
        "*", "null", "localhost:1420", "http://localhost:1420/", "http://localhost/path", "http://*.example.org",
        "http://user@localhost", "HTTP://LOCALHOST", "tauri://", "://localhost:1420", "1http://localhost", "http://:1420",
        "http://localhost:", "http://localhost:080", "http://localhost:0", "http://localhost:99999",
    ],
)  # fmt: skip
def test_an_entry_that_is_not_the_origin_of_one_site_is_an_error(origin: str) -> None:
    with pytest.raises(StartError, match="which is not an origin"):
        parse_origins(f"tauri://localhost,{origin}")


def test_the_token_is_found_by_the_whole_name_of_its_variable() -> None:
    digits = "a" * 64
    block = f"A=PILLION_TOKEN={digits}\0MY_PILLION_TOKEN={digits}\0PILLION_TOKEN={digits}\0B=\0".encode()
    found = token_offset(block)
    assert found is not None
    assert block[:found].endswith(b"\0PILLION_TOKEN=")
    assert block[found : found + 64] == digits.encode()
    for other in (b"", b"PILLION_TOKEN", b"PILLION_TOKEN=\0", b"PILLION_TOKEN=short\0"):
        assert token_offset(other) is None
