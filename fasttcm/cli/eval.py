"""``fasttcm eval``: score a trained model on every dataset of DATASETS.TEST."""

import argparse
import json
from pathlib import Path
from typing import Any

from fasttcm.cli.options import add_config_options, add_device_option, wide_console
from fasttcm.config import apply_overrides, load_config
from fasttcm.errors import ConfigError

__all__ = ["add_parser", "run"]

EXAMPLES = """examples:
  fasttcm eval MODEL.WEIGHTS output/demo/train/model_final.safetensors
  fasttcm eval --config-file my.yaml MODEL.WEIGHTS w.safetensors DATASETS.TEST my_data/
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "eval", help="score a trained model", description=__doc__, epilog=EXAMPLES
    )
    add_device_option(parser)
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="write ground_truth.json, predictions.json and metrics.json of every dataset here",
    )
    add_config_options(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Print a table per dataset; returns 1 when an image could not be read or a figure left its expected tolerance."""
    from fasttcm.engine.build import build_model, load_test_datasets, resolve_device
    from fasttcm.engine.checkpoint import check_same_inputs, load_weights, read_checkpoint
    from fasttcm.engine.evaluate import check_expected, evaluate_model, figures
    from fasttcm.evaluation import results_table

    given = load_config(options.config_file, options.overrides)
    if not given.MODEL.WEIGHTS:
        raise ConfigError("no weights: add MODEL.WEIGHTS path/to/model.safetensors")
    stored = read_checkpoint(given.MODEL.WEIGHTS)
    # Without a config file the checkpoint's own configuration holds, with the command line over it.
    cfg = apply_overrides(stored.config, options.overrides) if stored.config and not options.config_file else given
    if stored.config:
        check_same_inputs(
            stored.config, cfg, given.MODEL.WEIGHTS, keys=stored.travelling, strict=cfg.MODEL.WEIGHTS_STRICT
        )
    model = build_model(cfg, weights=False)
    load_weights(model, stored.weights, given.MODEL.WEIGHTS, strict=cfg.MODEL.WEIGHTS_STRICT)
    if not cfg.DATASETS.TEST:
        raise ConfigError("DATASETS.TEST is empty: name a dataset, or the folder that `fasttcm synth` wrote")
    datasets = load_test_datasets(cfg)
    evaluations = evaluate_model(model.to(resolve_device(options.device)), cfg, datasets, progress=True)
    console = wide_console()
    for name, evaluation in evaluations.items():
        console.print(f"[bold]{name}[/bold]")
        console.print(results_table(evaluation.results))
        if options.output:
            folder = Path(options.output) / Path(name).name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "ground_truth.json").write_text(json.dumps(evaluation.ground_truth))
            (folder / "predictions.json").write_text(json.dumps(evaluation.predictions))
            (folder / "metrics.json").write_text(json.dumps(figures(evaluation), indent=2))
    failed = [line for evaluation in evaluations.values() for line in evaluation.failed]
    wrong = check_expected(cfg, {name: figures(evaluation) for name, evaluation in evaluations.items()})
    for line in failed + wrong:
        console.print(line, style="red", markup=False)
    return 1 if failed or wrong else 0
