"""Options that several sub-commands share."""

import argparse

from fvcore.common.config import CfgNode
from rich.console import Console

from fasttcm.config import load_config

__all__ = ["add_config_options", "add_device_option", "add_weights_option", "config_from", "wide_console"]

FILE_WIDTH = 120
"""Columns when the output goes to a file or pipe, so that no table is squeezed."""


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """``--config-file FILE`` and trailing ``KEY VALUE`` pairs."""
    parser.add_argument(
        "--config-file", metavar="FILE", help="YAML file, e.g. configs/abcnet/totaltext/fasttcm_cr50.yaml"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY VALUE", help="config keys to change, e.g. SOLVER.BASE_LR 0.001"
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """``--device``."""
    parser.add_argument("--device", default="auto", help="auto (default: a GPU if there is one), cpu, cuda or cuda:N")


def add_weights_option(parser: argparse.ArgumentParser) -> None:
    """``--weights``."""
    parser.add_argument(
        "--weights",
        default="compact",
        metavar="FILE",
        help="checkpoint of a trained model (default: the small one that comes with the package)",
    )


def wide_console() -> Console:
    """As wide as the terminal, or :data:`FILE_WIDTH` without one."""
    console = Console()
    return console if console.is_terminal else Console(width=FILE_WIDTH)


def config_from(options: argparse.Namespace) -> CfgNode:
    """The configuration that :func:`add_config_options` names."""
    return load_config(options.config_file, options.overrides)
