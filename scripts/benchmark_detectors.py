"""The detectors: size and cost of DBNet beside published figures, post-processing, whole models on the four backbones.

Called by ``scripts/benchmark.py params`` and ``scripts/benchmark.py detectors``.
"""

from collections.abc import Callable

import cv2
import torch
from benchmark_db import rows as db_rows  # the files beside this one
from benchmark_pan_fce import rows as pan_fce_rows
from fvcore.common.config import CfgNode
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fasttcm.config import CHOICES, load_config
from fasttcm.engine.build import build_model

__all__ = ["cost_table", "detector_config", "run"]

DEFORMABLE = ["res3", "res4", "res5"]
INPUTS = ((640, 640), (800, 1280))
"""Height and width: the training crop, and the published size."""

MODELS: tuple[tuple[str, dict[str, object], str, str], ...] = (
    ("DBNet R50 + DCNv2", {"DEPTH": 50, "DEFORMABLE_STAGES": DEFORMABLE}, "26.281 / 39.47 / 98.67", "26 M, 98 G"),
    ("DBNet R101 + DCNv2", {"DEPTH": 101, "DEFORMABLE_STAGES": DEFORMABLE}, "46.331 / 55.50 / 138.76", "46 M, 139 G"),
    ("DBNet R152 + DCNv2", {"DEPTH": 152, "DEFORMABLE_STAGES": DEFORMABLE}, "62.908 / 71.96 / 179.89", "62 M, 180 G"),
    ("DBNet R50", {"DEPTH": 50}, "25.410 / 50.19 / 125.49", ""),
    ("DBNet R101", {"DEPTH": 101}, "44.402 / 80.58 / 201.45", ""),
    ("DBNet R152", {"DEPTH": 152}, "", ""),
    ("DBNet CLIP R50", {"NAME": "clip_r50"}, "25.429 / 60.67 / 151.66", ""),
    ("TCM-DBNet", {"NAME": "tcm_cr50"}, "114.077 / 69.07 / 172.55", "50 M, 156 G"),
    ("FastTCM-DBNet", {"NAME": "fasttcm_cr50"}, "", ""),
)
"""Name, options, the specification's figures (parameters / 640 x 640 / 1280 x 800), TCM's table 10."""

NOTES = """\
Parameters in millions; cost in 10^9 multiply-adds of convolutions, matrix products and attention, one image, evaluation
mode. The published figures are multiply-adds too, at 1280 x 800, of mmcv's counter, which sees modules only.
* Deformable 3x3 convolutions are custom operators that no counter here or there counts (their offset convolutions are
  counted): hence 98 G for DBNet R50, which costs 125 G with plain convolutions.
* 50 M leaves out the text tower (63.7 M); FastTCM runs it once, at loading time, and its cost is not in the row.
* 156 G leaves out the attention pool's projections and all attention products: the column "modules only" does so too.
* The specification's figures (fvcore) count normalisations and resizing as well: about half a percent more."""


def detector_config(head: str, backbone: str = "imagenet_r50", **resnet: object) -> CfgNode:
    """The full-size model of a head with random weights; ``resnet`` changes keys of ``MODEL.RESNET``."""
    options: dict[str, object] = {
        "MODEL.META_ARCHITECTURE": head,
        "MODEL.BACKBONE.NAME": backbone,
        "MODEL.RESNET.WEIGHTS": "random",
        "MODEL.CLIP.WEIGHTS": "random",
        "MODEL.TCM.LOSS": "balanced_bce",
        **{f"MODEL.RESNET.{key}": value for key, value in resnet.items()},
    }
    return load_config(None, [str(item) for pair in options.items() for item in pair])


def _cost(model: nn.Module, size: tuple[int, int], device: str) -> tuple[float, float]:
    """10^9 multiply-adds of DBNet's forward pass: all that is counted, and what mmcv's counter sees of it."""
    images = torch.zeros(1, 3, *size, device=device)

    def forward() -> Tensor:
        features = model.backbone(images).features
        return model.head(model.neck([features[level] for level in model.levels])).threshold

    with torch.no_grad():
        if hasattr(model.backbone, "matching"):  # FastTCM's text is made now
            model.backbone.matching(*model.backbone.pool(torch.zeros(1, 2048, 2, 2, device=device)))
        with FlopCounterMode(display=False) as counter:
            forward()
    counts = counter.get_flop_counts()
    everything = counts["Global"]
    hidden = sum(flops for operator, flops in everything.items() if "attention" in str(operator))
    pool = next((part for name, part in counts.items() if name.endswith("Backbone.pool")), {})
    hidden += sum(flops for operator, flops in pool.items() if "attention" not in str(operator))
    total = sum(everything.values())
    return total / 2e9, (total - hidden) / 2e9


def cost_table() -> None:
    """Print parameters and cost of DBNet on every trunk, beside the published figures."""
    table = Table(title="DBNet: parameters and multiply-adds")
    columns = ("model", "parameters M", "without text tower", "G 640 x 640", "G 1280 x 800", "modules only")
    for column in (*columns, "specification M / G / G", "published"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, options, specified, published in MODELS:
        resnet = dict(options)
        backbone = str(resnet.pop("NAME", "imagenet_r50"))
        device = "cpu" if "tcm" in backbone else "meta"  # without arithmetic where that is possible
        with torch.device(device):
            model = build_model(detector_config("dbnet", backbone, **resnet)).eval()
        tower = sum(p.numel() for key, p in model.named_parameters() if ".encoder.tower." in key)
        count = sum(p.numel() for p in model.parameters())
        (small, _), (large, modules) = (_cost(model, size, device) for size in INPUTS)
        figures = [f"{count / 1e6:.3f}", f"{(count - tower) / 1e6:.3f}", f"{small:.2f}", f"{large:.2f}"]
        table.add_row(name, *figures, f"{modules:.2f}", specified, published)
    Console().print(table, NOTES, sep="\n")


def run(
    compare: Callable[..., None], *, size: int, batch: int, repeats: int, device: torch.device, words: int = 100
) -> None:
    """Print post-processing times and the ratios of whole models.

    Args:
        compare: ``compare(title, {name: call}, device=, repeats=)``, which times and prints.
        size: side of the images in pixels.
        batch: images a call.
        repeats: of every measurement.
        device: of the models.
        words: a picture, for the post-processing.
    """
    cv2.setNumThreads(1)
    table = Table(title=f"post-processing of pictures with {words} words, CPU time")
    for column in ("", "texts found", "plain ms", "ours ms", "times faster"):
        table.add_column(column, justify="right" if column else "left")
    found = [(f"DBNet, {name}", *row) for name, *row in db_rows(words, repeats)] + pan_fce_rows(words, repeats)
    for name, count, plain, ours in found:
        table.add_row(name, str(count), f"{plain:.1f}", f"{ours:.1f}", f"{plain / ours:.1f}")
    Console().print(table)
    images = torch.randint(0, 256, (3, size, size), dtype=torch.uint8)
    samples = [{"image": images, "height": size, "width": size, "file_name": "noise"}] * batch
    for head in ("dbnet", "pan", "fcenet"):
        models = {
            name: build_model(detector_config(head, name)).to(device).eval() for name in CHOICES["MODEL.BACKBONE.NAME"]
        }
        order = ["clip_r50", *(name for name in models if name != "clip_r50")]
        compare(
            f"{head}, {size} x {size}, batch {batch}, random weights, {device}",
            {name: (lambda model=models[name]: model(samples)) for name in order},
            device=device,
            repeats=repeats,
        )
