"""PAN from a configuration: the one place of this project that reads one."""

from fvcore.common.config import CfgNode

from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone
from fasttcm.layers.image_batch import ImageBatcher
from fasttcm.losses.balanced_bce import balanced_bce_loss
from fasttcm.losses.dice import dice_loss
from fasttcm.losses.ohem import ohem_dice_loss
from fasttcm.projects.pan.head import PANHead
from fasttcm.projects.pan.loss import PANLoss
from fasttcm.projects.pan.model import LEVELS, PAN, MapLoss
from fasttcm.projects.pan.neck import FPEMFFM
from fasttcm.projects.pan.postprocess import PANPostprocessor
from fasttcm.projects.pan.targets import PANTargetMaker

__all__ = ["NEEDS_PYRAMID", "build"]

NEEDS_PYRAMID = False
"""The neck fuses ``res2`` .. ``res5`` itself."""

_MATCHING_LOSSES: dict[str, MapLoss] = {
    "dice": dice_loss,
    "balanced_bce": balanced_bce_loss,
    "ohem_dice": ohem_dice_loss,
}
"""``MODEL.TCM.LOSS``; published with PAN: ``ohem_dice``."""


def build(cfg: CfgNode, backbone: Backbone) -> PAN:
    """PAN on ``backbone``, from ``MODEL.{PAN,PIXEL_MEAN,PIXEL_STD,TCM}`` and ``INPUT.FORMAT``.

    Raises:
        ConfigError: a backbone without the levels ``res2`` .. ``res5``, or an option outside its range.
    """
    options = cfg.MODEL.PAN
    shapes = backbone.output_shape()
    missing = [level for level in LEVELS if level not in shapes]
    if missing:
        raise ConfigError(f"PAN reads {', '.join(LEVELS)}; the backbone has {', '.join(shapes)}")
    neck = FPEMFFM(
        in_channels=[shapes[level].channels for level in LEVELS],
        channels=options.NECK_CHANNELS,
        repeats=options.NECK_REPEATS,
    )
    return PAN(
        backbone=backbone,
        batcher=ImageBatcher(
            pixel_mean=cfg.MODEL.PIXEL_MEAN,
            pixel_std=cfg.MODEL.PIXEL_STD,
            pixel_order=cfg.INPUT.FORMAT,
            size_divisibility=backbone.size_divisibility,
        ),
        neck=neck,
        head=PANHead(in_channels=neck.out_channels),
        target_maker=PANTargetMaker(shrink_ratios=options.SHRINK_RATIOS, max_shrink=options.MAX_SHRINK),
        criterion=PANLoss(
            kernel_weight=options.KERNEL_WEIGHT,
            embedding_weight=options.EMBEDDING_WEIGHT,
            delta_agg=options.DELTA_AGG,
            delta_dis=options.DELTA_DIS,
            ohem_ratio=options.OHEM_RATIO,
            max_instances=options.MAX_INSTANCES,
        ),
        postprocessor=PANPostprocessor(
            score_threshold=options.INFERENCE_TH_TEST,
            region_threshold=options.REGION_TH,
            max_distance=options.MAX_DISTANCE,
            min_area=options.MIN_AREA,
            form=options.FORM,
            max_candidates=options.MAX_CANDIDATES,
            published_memory_order=options.PUBLISHED_MEMORY_ORDER,
        ),
        matching_loss=_MATCHING_LOSSES[cfg.MODEL.TCM.LOSS],
        matching_weight=cfg.MODEL.TCM.LOSS_WEIGHT,
    )
