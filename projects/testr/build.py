"""TESTR from a configuration: the one place of this project that reads one."""

from fvcore.common.config import CfgNode

from fasttcm.charset import Charset
from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone
from fasttcm.layers.deformable_encoder import DeformableEncoder
from fasttcm.layers.image_batch import ImageBatcher
from fasttcm.layers.multi_scale import MultiScaleProjection
from fasttcm.layers.resnet import ImageNetResNet
from fasttcm.projects.testr.decoder import DualDecoder
from fasttcm.projects.testr.loss import SetCriterion
from fasttcm.projects.testr.matching import Matcher
from fasttcm.projects.testr.model import TESTR, PredictionHead
from fasttcm.projects.testr.proposals import BoxProposals
from fasttcm.tcm import MatchingLoss

__all__ = ["NEEDS_PYRAMID", "build"]

NEEDS_PYRAMID = False
"""The head reads ``res3`` .. ``res5`` of the bare backbone."""


def build(cfg: CfgNode, backbone: Backbone) -> TESTR:
    """TESTR on ``backbone``, from ``MODEL.{TESTR,TEXT,PIXEL_MEAN,PIXEL_STD,TCM}`` and ``INPUT.FORMAT``.

    Raises:
        ConfigError: levels or sizes that do not fit together, or an unknown charset.
    """
    options, tcm = cfg.MODEL.TESTR, cfg.MODEL.TCM
    _check(options, backbone)
    charset = Charset.named(cfg.MODEL.TEXT.CHARSET)
    shapes = [backbone.output_shape()[level] for level in options.IN_LEVELS]
    channels = options.HIDDEN_DIM
    transformer = {
        "channels": channels,
        "heads": options.NHEADS,
        "feedforward": options.DIM_FEEDFORWARD,
        "levels": options.NUM_FEATURE_LEVELS,
        "dropout": options.DROPOUT,
    }
    return TESTR(
        backbone=backbone,
        batcher=ImageBatcher(
            pixel_mean=cfg.MODEL.PIXEL_MEAN,
            pixel_std=cfg.MODEL.PIXEL_STD,
            pixel_order=cfg.INPUT.FORMAT,
            size_divisibility=_size_divisibility(backbone),
        ),
        projection=MultiScaleProjection(
            in_channels=[shape.channels for shape in shapes],
            strides=[shape.stride for shape in shapes],
            channels=channels,
            extra_levels=options.NUM_FEATURE_LEVELS - len(shapes),
        ),
        encoder=DeformableEncoder(layers=options.ENC_LAYERS, points=options.ENC_N_POINTS, **transformer),
        proposals=BoxProposals(channels=channels, num_queries=options.NUM_QUERIES),
        decoder=DualDecoder(
            num_layers=options.DEC_LAYERS,
            sampling_points=options.DEC_N_POINTS,
            num_points=options.NUM_CTRL_POINTS,
            max_length=cfg.MODEL.TEXT.MAX_LENGTH,
            **transformer,
        ),
        head=PredictionHead(channels=channels, num_classes=charset.num_classes),
        charset=charset,
        in_levels=options.IN_LEVELS,
        max_length=cfg.MODEL.TEXT.MAX_LENGTH,
        too_long=cfg.MODEL.TEXT.TOO_LONG,
        criterion=SetCriterion(
            matcher=Matcher(
                class_weight=options.CLASS_WEIGHT,
                point_weight=options.POINT_WEIGHT,
                box_weight=options.BOX_WEIGHT,
                giou_weight=options.GIOU_WEIGHT,
                focal_alpha=options.FOCAL_ALPHA,
                focal_gamma=options.FOCAL_GAMMA,
            ),
            text_weight=options.TEXT_WEIGHT,
        ),
        threshold=options.INFERENCE_TH_TEST,
        char_scores=options.CHAR_SCORES,
        matching_loss=MatchingLoss(kind=tcm.LOSS, weight=tcm.LOSS_WEIGHT, shrink_ratio=tcm.SHRINK_RATIO),
    )


def _size_divisibility(backbone: Backbone) -> int:
    """The published model pads to the largest image only; CLIP's trunk pools and needs whole cells."""
    return 1 if isinstance(backbone, ImageNetResNet) else backbone.size_divisibility


def _check(options: CfgNode, backbone: Backbone) -> None:
    known = backbone.output_shape()
    missing = [level for level in options.IN_LEVELS if level not in known]
    if missing or not options.IN_LEVELS:
        raise ConfigError(f"MODEL.TESTR.IN_LEVELS names {missing or 'nothing'}; the backbone has {', '.join(known)}")
    last = list(known)[-1]
    if last not in options.IN_LEVELS:  # its weights would never get a gradient
        raise ConfigError(f"MODEL.TESTR.IN_LEVELS leaves out {last}, the last stage of the backbone; name it")
    if len(options.IN_LEVELS) > options.NUM_FEATURE_LEVELS:
        raise ConfigError(
            f"MODEL.TESTR.IN_LEVELS has {len(options.IN_LEVELS)} levels, more than NUM_FEATURE_LEVELS "
            f"({options.NUM_FEATURE_LEVELS})"
        )
    if options.HIDDEN_DIM % (2 * 4) or options.HIDDEN_DIM % options.NHEADS:
        raise ConfigError(f"MODEL.TESTR.HIDDEN_DIM is {options.HIDDEN_DIM}; give a multiple of 8 and of NHEADS")
    if options.NUM_CTRL_POINTS < 4 or options.NUM_CTRL_POINTS % 2:
        raise ConfigError(f"MODEL.TESTR.NUM_CTRL_POINTS is {options.NUM_CTRL_POINTS}; give an even number from 4 on")
