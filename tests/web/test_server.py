import socket

import pytest

from fasttcm.errors import ConfigError
from fasttcm.web.server import address_of, is_loopback, listen


def test_a_port_of_the_system_s_choice() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert address_of(listener) == f"http://127.0.0.1:{port}" and is_loopback(listener)
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass


def test_every_address_of_the_machine_is_not_loopback() -> None:
    with listen("0.0.0.0", 0) as listener:
        assert address_of(listener).startswith("http://127.0.0.1:") and not is_loopback(listener)


def test_a_name() -> None:
    with listen("localhost", 0) as listener:
        assert is_loopback(listener)


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_ipv6() -> None:
    try:
        listener = listen("::1", 0)
    except ConfigError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with listener:
        assert address_of(listener).startswith("http://[::1]:") and is_loopback(listener)


@pytest.mark.parametrize("port", [-1, 65536])
def test_ports_out_of_range(port: int) -> None:
    with pytest.raises(ConfigError, match=rf"--port must lie in 0\.\.65535, got {port}"):
        listen("127.0.0.1", port)


def test_a_busy_port_and_a_foreign_host() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1 port {port}: .*another --port"):
            listen("127.0.0.1", port)
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1 port 0: "):
        listen("192.0.2.1", 0)
