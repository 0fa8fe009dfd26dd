"""FCENet from a configuration: the one place of this project that reads one."""

from fvcore.common.config import CfgNode

from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone
from fasttcm.layers.fpn import FPN
from fasttcm.layers.image_batch import ImageBatcher
from fasttcm.losses.balanced_bce import balanced_bce_loss
from fasttcm.losses.broadcast_bce import broadcast_balanced_bce_loss
from fasttcm.losses.dice import dice_loss
from fasttcm.losses.ohem import ohem_dice_loss
from fasttcm.projects.fcenet.head import FCEHead
from fasttcm.projects.fcenet.loss import FCELoss
from fasttcm.projects.fcenet.model import FCENet, MapLoss
from fasttcm.projects.fcenet.postprocess import FCEPostprocessor
from fasttcm.projects.fcenet.targets import FCETargetMaker

__all__ = ["NEEDS_PYRAMID", "build"]

NEEDS_PYRAMID = False
"""FCENet's pyramid starts at ``res3`` and has no levels above the last, whatever ``MODEL.FPN`` says."""

_IN_LEVELS = ("res3", "res4", "res5")

_MATCHING_LOSSES: dict[str, MapLoss] = {
    "dice": dice_loss,
    "balanced_bce": balanced_bce_loss,
    "ohem_dice": ohem_dice_loss,
}
"""``MODEL.TCM.LOSS``; published with FCENet: ``balanced_bce``."""


def build(cfg: CfgNode, backbone: Backbone) -> FCENet:
    """FCENet on ``backbone``, from ``MODEL.{FCENET,PIXEL_MEAN,PIXEL_STD,TCM}`` and ``INPUT.FORMAT``.

    Raises:
        ConfigError: a backbone without the levels ``res3`` .. ``res5``, or an option outside its range.
    """
    options = cfg.MODEL.FCENET
    if len(options.SIZE_RANGES) != len(_IN_LEVELS):
        raise ConfigError(f"MODEL.FCENET.SIZE_RANGES has {len(options.SIZE_RANGES)} ranges; give {len(_IN_LEVELS)}")
    if options.NUM_POINTS <= 2 * options.FOURIER_DEGREE:
        raise ConfigError(
            f"MODEL.FCENET.NUM_POINTS is {options.NUM_POINTS}; a series of degree {options.FOURIER_DEGREE} needs more "
            f"than {2 * options.FOURIER_DEGREE} points"
        )
    pyramid = FPN(bottom_up=backbone, in_levels=_IN_LEVELS, out_channels=options.NECK_CHANNELS, top_block="none")
    strides = [shape.stride for shape in pyramid.output_shape().values()]
    matching = _MATCHING_LOSSES[cfg.MODEL.TCM.LOSS]
    if options.PUBLISHED_MATCHING_LOSS and cfg.MODEL.TCM.LOSS == "balanced_bce":
        matching = broadcast_balanced_bce_loss
    return FCENet(
        backbone=pyramid,
        batcher=ImageBatcher(
            pixel_mean=cfg.MODEL.PIXEL_MEAN,
            pixel_std=cfg.MODEL.PIXEL_STD,
            pixel_order=cfg.INPUT.FORMAT,
            size_divisibility=pyramid.size_divisibility,
        ),
        head=FCEHead(in_channels=pyramid.out_channels, degree=options.FOURIER_DEGREE),
        target_maker=FCETargetMaker(
            strides=strides,
            ranges=options.SIZE_RANGES,
            degree=options.FOURIER_DEGREE,
            step=options.RESAMPLE_STEP,
            shrink=options.CENTER_SHRINK,
        ),
        criterion=FCELoss(degree=options.FOURIER_DEGREE, samples=options.NUM_POINTS, ohem_ratio=options.OHEM_RATIO),
        postprocessor=FCEPostprocessor(
            strides=strides,
            score_threshold=options.INFERENCE_TH_TEST,
            text_power=options.TEXT_POWER,
            center_power=options.CENTER_POWER,
            points=options.NUM_POINTS,
            nms_threshold=options.NMS_TH,
            form=options.FORM,
            max_candidates=options.MAX_CANDIDATES,
        ),
        matching_loss=matching,
        matching_weight=cfg.MODEL.TCM.LOSS_WEIGHT,
    )
