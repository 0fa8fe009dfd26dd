"""Train and evaluate with detectron2: its usual command line, our heads or its own on our backbones.

    python scripts/train_net.py --config-file configs/abcnet/totaltext/fasttcm_cr50.yaml --num-gpus 8
    python scripts/train_net.py --config-file ... --num-gpus 8 --resume
    python scripts/train_net.py --config-file ... --eval-only MODEL.WEIGHTS output/model_final.pth
    python scripts/train_net.py --config-file retinanet.yaml MODEL.BACKBONE.NAME build_fasttcm_fpn_backbone

The YAML files are those of ``fasttcm train``; without detectron2 use that.
"""

import argparse
import sys

try:
    import fasttcm.d2
except ImportError as error:
    sys.exit(f"train_net.py: error: {error}")

# isort: split

from detectron2.engine import default_argument_parser, default_setup, launch
from detectron2.utils import comm

from fasttcm.d2 import TextCheckpointer, TextTrainer
from fasttcm.errors import FastTCMError


def main(options: argparse.Namespace) -> object:
    """One process: evaluate, or train and evaluate."""
    cfg = fasttcm.d2.load_d2_config(options.config_file or None, options.opts)
    default_setup(cfg, options)
    if options.eval_only:
        model = TextTrainer.build_model(cfg)
        TextCheckpointer(model, save_dir=cfg.OUTPUT_DIR).resume_or_load(cfg.MODEL.WEIGHTS, resume=options.resume)
        return TextTrainer.test(cfg, model)
    trainer = TextTrainer(cfg)
    trainer.resume_or_load(resume=options.resume)
    return trainer.train()


def launched(options: argparse.Namespace) -> None:
    """:func:`main` with a mistake told in one line."""
    try:
        main(options)
    except FastTCMError as error:
        if comm.is_main_process():
            print(f"train_net.py: error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    arguments = default_argument_parser(__doc__).parse_args()
    launch(
        launched,
        arguments.num_gpus,
        num_machines=arguments.num_machines,
        machine_rank=arguments.machine_rank,
        dist_url=arguments.dist_url,
        args=(arguments,),
    )
