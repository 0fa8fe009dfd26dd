"""The smallest configuration of every model, and samples for it."""

import numpy as np
import torch
from fvcore.common.config import CfgNode

from fasttcm.config import load_config
from fasttcm.geometry import polygon_box, sample_sides
from fasttcm.structures import Sample, TextTargets

OVERRIDES = {
    "MODEL.RESNET.WEIGHTS": "random",
    "MODEL.RESNET.DEPTH": 18,
    "MODEL.RESNET.DEFORMABLE_STAGES": [],
    "MODEL.CLIP.WEIGHTS": "random",
    "MODEL.CLIP.EMBED_DIM": 32,
    "MODEL.CLIP.LAYERS": [1, 1, 1, 1],
    "MODEL.CLIP.WIDTH": 8,
    "MODEL.CLIP.CONTEXT_LENGTH": 48,
    "MODEL.CLIP.VOCAB_SIZE": 128,
    "MODEL.CLIP.TEXT_WIDTH": 16,
    "MODEL.CLIP.TEXT_HEADS": 1,
    "MODEL.CLIP.TEXT_LAYERS": 1,
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.TCM.DECODER_WIDTH": 16,
    "MODEL.TCM.DECODER_HEADS": 2,
    "MODEL.TCM.DECODER_LAYERS": 1,
    "MODEL.TCM.INPUT_RESOLUTION": 64,
    "MODEL.ABCNET.NUM_CONVS": 1,
    "MODEL.FPN.TOP_BLOCK": "none",
    "MODEL.ABCNET.HEAD_LEVELS": ["p3", "p4", "p5"],
    "MODEL.ABCNET.SIZES_OF_INTEREST": [32, 64],
    "MODEL.ABCNET.RECOGNIZER_CHANNELS": 16,
    "MODEL.ABCNET.TOWER_CONVS": 1,
    "MODEL.DBNET.LATERAL_CHANNELS": 16,
    "MODEL.DBNET.SMOOTH_CHANNELS": 8,
    "MODEL.DBNET.MASK_TH": 0.0,  # the whole map is one text, whatever the weights
    "MODEL.DEEPSOLO.HIDDEN_DIM": 16,
    "MODEL.DEEPSOLO.NHEADS": 2,
    "MODEL.DEEPSOLO.DIM_FEEDFORWARD": 16,
    "MODEL.DEEPSOLO.ENC_LAYERS": 1,
    "MODEL.DEEPSOLO.DEC_LAYERS": 2,
    "MODEL.DEEPSOLO.ENC_N_POINTS": 2,
    "MODEL.DEEPSOLO.DEC_N_POINTS": 2,
    "MODEL.DEEPSOLO.NUM_QUERIES": 8,
    "MODEL.DEEPSOLO.NUM_POINTS": 6,
    "MODEL.PAN.NECK_CHANNELS": 16,
    "MODEL.PAN.REGION_TH": 0.0,
    "MODEL.FCENET.NECK_CHANNELS": 16,
    "MODEL.FCENET.FOURIER_DEGREE": 2,
    "MODEL.FCENET.NUM_POINTS": 12,
    "MODEL.TESTR.HIDDEN_DIM": 16,
    "MODEL.TESTR.NHEADS": 2,
    "MODEL.TESTR.DIM_FEEDFORWARD": 32,
    "MODEL.TESTR.ENC_LAYERS": 1,
    "MODEL.TESTR.DEC_LAYERS": 2,
    "MODEL.TESTR.NUM_QUERIES": 8,
    "MODEL.TEXT.MAX_LENGTH": 6,
    "INPUT.MIN_SIZE_TRAIN": [64],
    "INPUT.MAX_SIZE_TRAIN": 96,
    "INPUT.MIN_SIZE_TEST": 64,
    "INPUT.MAX_SIZE_TEST": 96,
    "INPUT.CROP.ENABLED": False,
    "DATALOADER.NUM_WORKERS": 0,
    "SOLVER.OPTIMIZER": "AdamW",
    "SOLVER.BASE_LR": 0.001,
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.MAX_ITER": 4,
    "SOLVER.WARMUP_ITERS": 0,
    "SOLVER.CHECKPOINT_PERIOD": 2,
}


def pairs(options: dict[str, object]) -> list[str]:
    """``KEY VALUE ...`` for the configuration."""
    return [str(item) for key, value in options.items() for item in (key, value)]


def tiny_config(**changes: object) -> CfgNode:
    """The tiny configuration; ``MODEL__BACKBONE__NAME="clip_r50"`` changes a key."""
    options = {**OVERRIDES, **{key.replace("__", "."): value for key, value in changes.items()}}
    return load_config(None, pairs(options))


def targets(*texts: str, ignore: bool = False) -> TextTargets:
    """One straight word 40 x 12 pixels per text, one below the other."""
    if not texts:
        return TextTargets.empty()
    beziers = []
    for row in range(len(texts)):
        x, y = 10.0, 8.0 + 18 * row
        top = [(x + 40 * i / 3, y) for i in range(4)]
        bottom = [(x + 40 * (3 - i) / 3, y + 12) for i in range(4)]
        beziers.append(np.array(top + bottom, np.float32).reshape(16))
    polygons = [sample_sides(b, 4).astype(np.float32) for b in beziers]
    return TextTargets(
        polygons=polygons,
        beziers=torch.from_numpy(np.stack(beziers)),
        boxes=torch.tensor(np.stack([polygon_box(p) for p in polygons]), dtype=torch.float32),
        texts=list(texts),
        ignore=torch.full((len(texts),), ignore),
        labels=torch.zeros(len(texts), dtype=torch.int64),
    )


def sample(*texts: str, seed: int = 0, ignore: bool = False, height: int = 64, width: int = 64) -> Sample:
    """A noise image with words."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "image": torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator),
        "height": height,
        "width": width,
        "file_name": f"{seed}.png",
        "image_id": seed,
        "targets": targets(*texts, ignore=ignore),
    }
