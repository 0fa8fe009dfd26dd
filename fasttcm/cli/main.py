"""Parse the command line, run a sub-command, turn mistakes into one line and exit code 2."""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

import rich
from rich.logging import RichHandler

import fasttcm
from fasttcm.errors import FastTCMError

__all__ = ["build_parser", "main"]

COMMANDS = ("spot", "web", "train", "eval", "score", "synth", "sheets", "prepare", "check", "show", "convert")
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of every sub-command."""
    parser = argparse.ArgumentParser(
        prog="fasttcm", description="Find and read text in pictures; train and score the models that do it."
    )
    parser.add_argument("--version", action="version", version=f"fasttcm {fasttcm.__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"fasttcm.cli.{name}")
        command = module.add_parser(commands)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 1 done but for some inputs, 2 a mistake, 130 Ctrl-C."""
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and hasattr(options, "config_file") and not any(word.startswith("--") for word in rest):
        options.overrides += rest  # KEY VALUE pairs on both sides of an option, which argparse gives up on
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    _configure_logging()
    try:
        return int(options.run(options) or 0)
    except (FastTCMError, ImportError) as error:
        if options.debug:
            raise
        print(f"fasttcm: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("fasttcm: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _configure_logging() -> None:
    """Coloured lines in a terminal, plain ones in a log file."""
    rich.reconfigure(stderr=True)  # one console for bars and log lines, so that they do not overwrite each other
    if rich.get_console().is_terminal:
        handler: logging.Handler = RichHandler(show_path=False, markup=False, highlighter=None)
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.basicConfig(level=logging.INFO, format="%(message)s", datefmt="%H:%M:%S", handlers=[handler])


if __name__ == "__main__":
    sys.exit(main())
