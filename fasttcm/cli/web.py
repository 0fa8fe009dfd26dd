"""``fasttcm web``: a page in the browser where you drop a picture and get its words."""

import argparse
import contextlib
from typing import Any

from fasttcm.cli.options import add_device_option, add_weights_option
from fasttcm.errors import ConfigError

__all__ = ["add_parser", "run"]

EXAMPLES = """examples:
  fasttcm web
  fasttcm web --weights model.safetensors --port 9000 --confidence 0.4
  fasttcm web --weights model.safetensors --host 0.0.0.0     # for everybody in your network; there is no password

Ctrl-C stops it. Pictures are not stored, and the page loads nothing from the internet.
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "web", help="a page in the browser: drop a picture, get its words", description=__doc__, epilog=EXAMPLES
    )
    add_weights_option(parser)
    parser.add_argument("--confidence", type=float, metavar="T", help="lowest score of a word, 0 to 1")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: this machine only)"
    )
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default 8000; 0 for any free one)")
    parser.add_argument(
        "--max-upload-mb", type=int, default=20, metavar="MB", help="largest picture file taken (default 20)"
    )
    add_device_option(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    from fasttcm.engine.spotter import Spotter

    try:
        from fasttcm.web.app import build_app
        from fasttcm.web.server import address_of, build_server, is_loopback, listen
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise ConfigError(f"the page needs {package}: pip install 'fasttcm[web]'") from error
    if options.max_upload_mb < 1:
        raise ConfigError(f"--max-upload-mb must be at least 1, got {options.max_upload_mb}")
    with listen(options.host, options.port) as listener:
        spotter = Spotter(options.weights, device=options.device, confidence=options.confidence)
        server = build_server(build_app(spotter, max_upload_mb=options.max_upload_mb))
        print(f"open {address_of(listener)} in a browser (Ctrl-C stops)", flush=True)
        if not is_loopback(listener):
            print("everybody who can reach this machine can use the page: there is no password", flush=True)
        with contextlib.suppress(KeyboardInterrupt):  # the usual end, not a mistake
            server.run(sockets=[listener])
    return 0
