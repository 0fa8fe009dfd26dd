"""The page, served for real on a free port of this machine."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fasttcm import Spotter
from fasttcm.web.app import build_app
from fasttcm.web.server import address_of, build_server, listen


@pytest.fixture(scope="module")
def spotter(tiny_weights: Path) -> Spotter:
    return Spotter.from_checkpoint(tiny_weights, device="cpu", overrides=["INPUT.MAX_PIXELS", "1000000"])


@pytest.fixture(scope="module")
def page(spotter: Spotter) -> Iterator[str]:
    """Its address; it takes uploads of 1 MB."""
    with listen("127.0.0.1", 0) as listener:
        server = build_server(build_app(spotter, max_upload_mb=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield address_of(listener)
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
