"""The smallest detectron2 configurations, for the tests of the adapter."""

from typing import Any

import pytest

pytest.importorskip("detectron2", reason="detectron2 is not installed: the adapter's tests need it")

from tiny import OVERRIDES

from fasttcm.d2 import load_d2_config

FOREIGN = {
    **{key: value for key, value in OVERRIDES.items() if key.startswith(("MODEL.CLIP.", "MODEL.TCM."))},
    "MODEL.DEVICE": "cpu",
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.PIXEL_MEAN": [122.77, 116.75, 104.09],
    "MODEL.PIXEL_STD": [68.5, 66.63, 70.32],
    "INPUT.FORMAT": "RGB",
    "INPUT.MIN_SIZE_TRAIN": [64],
    "INPUT.MAX_SIZE_TRAIN": 96,
    "INPUT.MIN_SIZE_TEST": 64,
    "INPUT.MAX_SIZE_TEST": 96,
    "DATALOADER.NUM_WORKERS": 0,
    "MODEL.ROI_HEADS.NUM_CLASSES": 1,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 16,
    "MODEL.ROI_BOX_HEAD.NUM_FC": 1,
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 50,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 50,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 20,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 20,
    "MODEL.RETINANET.NUM_CLASSES": 1,
    "MODEL.RETINANET.NUM_CONVS": 1,
    "MODEL.RETINANET.SCORE_THRESH_TEST": 0.0,
}
"""A detectron2 model of somebody else on our backbone."""

FASTER_RCNN = {
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.FPN.TOP_BLOCK": "maxpool",
    "MODEL.ANCHOR_GENERATOR.SIZES": [[8], [16], [32], [64], [128]],
    "MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
    "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
}
RETINANET = {
    "MODEL.META_ARCHITECTURE": "RetinaNet",
    "MODEL.FPN.IN_FEATURES": ["res3", "res4", "res5"],
    "MODEL.FPN.TOP_BLOCK": "conv",
    "MODEL.FPN.TOP_BLOCK_INPUT": "res5",
    "MODEL.ANCHOR_GENERATOR.SIZES": [[16], [32], [64], [128], [256]],
}


def own_config(**changes: Any) -> Any:
    """One of our heads under detectron2; ``MODEL__DEVICE="cpu"`` changes a key."""
    options = {"MODEL.META_ARCHITECTURE": "ABCNet", "MODEL.DEVICE": "cpu", **OVERRIDES}
    return _load({**options, **{key.replace("__", "."): value for key, value in changes.items()}})


def foreign_config(architecture: dict[str, Any], backbone: str, **changes: Any) -> Any:
    """A detectron2 architecture on one of our backbones."""
    options = {**FOREIGN, **architecture, "MODEL.BACKBONE.NAME": backbone}
    return _load({**options, **{key.replace("__", "."): value for key, value in changes.items()}})


def _load(options: dict[str, Any]) -> Any:
    return load_d2_config(None, [str(item) for pair in options.items() for item in pair])
