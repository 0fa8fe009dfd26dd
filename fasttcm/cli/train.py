"""``fasttcm train``: train a model."""

import argparse
from typing import Any

from fasttcm.cli.options import add_config_options, add_device_option, config_from
from fasttcm.errors import ConfigError

__all__ = ["add_parser", "run"]

EXAMPLES = """examples:
  fasttcm train --config-file configs/compact/finetune.yaml DATASETS.TRAIN datasets/mine OUTPUT_DIR output/mine
  fasttcm train --config-file configs/abcnet/totaltext/fasttcm_cr50.yaml --resume
  fasttcm train --config-file my.yaml --num-devices 4 SOLVER.IMS_PER_BATCH 16
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train", help="train a model", description=__doc__, epilog=EXAMPLES
    )
    add_device_option(parser)
    parser.add_argument("--num-devices", type=int, default=1, metavar="N", help="processes on each machine (default 1)")
    parser.add_argument("--num-nodes", type=int, default=1, metavar="M", help="machines (default 1)")
    parser.add_argument("--resume", action="store_true", help="go on from OUTPUT_DIR/last.ckpt")
    add_config_options(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Train; returns 128 + signal number when a signal stopped it after the last checkpoint."""
    try:
        from fasttcm.engine.train import Interrupted, train
    except ModuleNotFoundError as error:
        raise ConfigError(f"training needs {error.name}: pip install 'fasttcm[train]'") from error
    try:
        train(
            config_from(options),
            resume=options.resume,
            device=options.device,
            num_devices=options.num_devices,
            num_nodes=options.num_nodes,
        )
    except Interrupted as interruption:
        print(f"fasttcm: {interruption}")
        return interruption.exit_code
    return 0
