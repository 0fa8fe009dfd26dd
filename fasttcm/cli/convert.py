"""``fasttcm convert``: turn a checkpoint of any known format into one safetensors file that needs nothing else."""

import argparse
from pathlib import Path
from typing import Any

from fasttcm.cli.options import add_config_options
from fasttcm.errors import ConfigError

__all__ = ["add_parser", "run"]

EXAMPLES = """examples:
  fasttcm convert tt_e2e_attn_R_50.pth totaltext.safetensors
  fasttcm convert ctw1500_attn_R_50.pth ctw1500.safetensors --config-file configs/abcnet/ctw1500/imagenet_r50.yaml
  fasttcm convert output/train/last.ckpt model.safetensors
  fasttcm convert output/train/last.ckpt small.safetensors --half --freeze-text
  fasttcm spot photo.jpg --weights totaltext.safetensors

The format is recognised by the names of the weights, published or our own. The result holds the configuration: what the
weights tell, then what --config-file or KEY VALUE pairs say. A published file does not tell the settings of its
dataset, such as the size of test images; the file of configs/ for that dataset does. Weights that are missing or left
over are an error that names them; with MODEL.WEIGHTS_STRICT False they are only listed.
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the sub-command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "convert", help="turn a published checkpoint into one of ours", description=__doc__, epilog=EXAMPLES
    )
    parser.add_argument("source", metavar="IN", help="checkpoint: .pth, .ckpt or .safetensors")
    parser.add_argument("target", metavar="OUT", help="file to write, *.safetensors")
    parser.add_argument("--half", action="store_true", help="store matrices and kernels in 16 bits")
    parser.add_argument(
        "--freeze-text", action="store_true", help="FastTCM: store the texts as a constant and drop the text tower"
    )
    add_config_options(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Build the model, load the weights, write the file."""
    from fasttcm.config import apply_overrides, load_config
    from fasttcm.engine.build import build_model
    from fasttcm.engine.checkpoint import check_same_inputs, load_weights, read_checkpoint, save_model

    source, target = Path(options.source), Path(options.target)
    if target.suffix != ".safetensors":
        raise ConfigError(f"the output must be a .safetensors file, got {str(target)!r}")
    stored = read_checkpoint(source)
    if options.config_file:
        config = load_config(options.config_file, options.overrides)
    elif stored.config is not None:
        config = apply_overrides(stored.config, options.overrides)
    else:
        raise ConfigError(f"{source} holds no configuration; add --config-file")
    if stored.config is not None:
        check_same_inputs(stored.config, config, source, keys=stored.travelling, strict=config.MODEL.WEIGHTS_STRICT)
    model = build_model(config, weights=False)
    load_weights(model, stored.weights, source, strict=config.MODEL.WEIGHTS_STRICT)
    if options.freeze_text:
        config = _freeze_text(model, config)
    save_model(target, model, config, stored.iteration, half=options.half)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(f"{target}: {config.MODEL.META_ARCHITECTURE} on {config.MODEL.BACKBONE.NAME}, {millions:.1f} M parameters")
    return 0


def _freeze_text(model: Any, config: Any) -> Any:
    """Freeze the texts in place; the configuration of a model without a text tower."""
    from fasttcm.config import apply_overrides

    frozen = [module for module in model.modules() if hasattr(module, "freeze_text")]
    if config.MODEL.BACKBONE.NAME != "fasttcm_cr50" or config.MODEL.TCM.SPOTTER_LEVEL or not frozen:
        raise ConfigError("--freeze-text is for models on fasttcm_cr50: only its texts do not depend on the image")
    frozen[0].freeze_text()
    return apply_overrides(config, ["MODEL.TCM.TEXT_TOWER", "False"])
