"""DBNet from a configuration: the one place of this project that reads one."""

from fvcore.common.config import CfgNode

from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone
from fasttcm.layers.image_batch import ImageBatcher
from fasttcm.losses.balanced_bce import balanced_bce_loss
from fasttcm.losses.broadcast_bce import broadcast_balanced_bce_loss
from fasttcm.losses.dice import dice_loss
from fasttcm.losses.ohem import ohem_dice_loss
from fasttcm.projects.dbnet.head import DBHead
from fasttcm.projects.dbnet.loss import DBLoss
from fasttcm.projects.dbnet.model import DBNet, MapLoss
from fasttcm.projects.dbnet.neck import FPNC
from fasttcm.projects.dbnet.postprocess import DBPostprocessor
from fasttcm.projects.dbnet.targets import DBTargetMaker

__all__ = ["NEEDS_PYRAMID", "build"]

NEEDS_PYRAMID = False
"""The neck fuses ``res2`` .. ``res5`` itself."""

_LEVELS = ("res2", "res3", "res4", "res5")

_MATCHING_LOSSES: dict[str, MapLoss] = {
    "dice": dice_loss,
    "balanced_bce": balanced_bce_loss,
    "ohem_dice": ohem_dice_loss,
}
"""``MODEL.TCM.LOSS``; published with DBNet: ``balanced_bce``."""


def build(cfg: CfgNode, backbone: Backbone) -> DBNet:
    """DBNet on ``backbone``, from ``MODEL.{DBNET,PIXEL_MEAN,PIXEL_STD,TCM}`` and ``INPUT.FORMAT``.

    Raises:
        ConfigError: a backbone without the levels ``res2`` .. ``res5``, or an option outside its range.
    """
    options = cfg.MODEL.DBNET
    shapes = backbone.output_shape()
    if any(level not in shapes for level in _LEVELS):
        raise ConfigError(f"DBNet reads {', '.join(_LEVELS)}; the backbone has {', '.join(shapes)}")
    neck = FPNC(
        in_channels=[shapes[level].channels for level in _LEVELS],
        lateral_channels=options.LATERAL_CHANNELS,
        smooth_channels=options.SMOOTH_CHANNELS,
    )
    return DBNet(
        backbone=backbone,
        batcher=ImageBatcher(
            pixel_mean=cfg.MODEL.PIXEL_MEAN,
            pixel_std=cfg.MODEL.PIXEL_STD,
            pixel_order=cfg.INPUT.FORMAT,
            size_divisibility=backbone.size_divisibility,
        ),
        neck=neck,
        head=DBHead(in_channels=neck.out_channels),
        levels=_LEVELS,
        target_maker=DBTargetMaker(
            shrink_ratio=options.SHRINK_RATIO,
            thr_min=options.THR_MIN,
            thr_max=options.THR_MAX,
            min_short_side=options.MIN_SHORT_SIDE,
        ),
        criterion=DBLoss(
            alpha=options.ALPHA,
            beta=options.BETA,
            balanced=options.BALANCED_BCE,
            negative_ratio=options.NEGATIVE_RATIO,
        ),
        postprocessor=DBPostprocessor(
            mask_threshold=options.MASK_TH,
            score_threshold=options.INFERENCE_TH_TEST,
            min_text_width=options.MIN_TEXT_WIDTH,
            approx_ratio=options.APPROX_RATIO,
            unclip_ratio=options.UNCLIP_RATIO,
            max_candidates=options.MAX_CANDIDATES,
            form=options.FORM,
        ),
        matching_loss=_matching_loss(cfg),
        matching_weight=cfg.MODEL.TCM.LOSS_WEIGHT,
    )


def _matching_loss(cfg: CfgNode) -> MapLoss:
    kind = cfg.MODEL.TCM.LOSS
    if cfg.MODEL.DBNET.PUBLISHED_MATCHING_LOSS and kind == "balanced_bce":
        return broadcast_balanced_bce_loss
    return _MATCHING_LOSSES[kind]
