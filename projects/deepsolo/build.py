"""DeepSolo from a configuration: the one place of this project that reads one."""

from fvcore.common.config import CfgNode
from torch import nn

from fasttcm.charset import Charset
from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone
from fasttcm.layers.deformable_encoder import DeformableEncoder
from fasttcm.layers.image_batch import ImageBatcher
from fasttcm.layers.multi_scale import MultiScaleProjection
from fasttcm.layers.resnet import ImageNetResNet
from fasttcm.projects.deepsolo.decoder import PointDecoder, PointHeads
from fasttcm.projects.deepsolo.loss import SetCriterion
from fasttcm.projects.deepsolo.matching import Matcher
from fasttcm.projects.deepsolo.model import DeepSolo
from fasttcm.projects.deepsolo.proposals import CurveProposals
from fasttcm.tcm import MatchingLoss

__all__ = ["NEEDS_PYRAMID", "build"]

NEEDS_PYRAMID = False
"""The head reads ``res3`` .. ``res5``."""


def build(cfg: CfgNode, backbone: Backbone) -> DeepSolo:
    """DeepSolo on ``backbone``, from ``MODEL.{DEEPSOLO,TEXT,PIXEL_MEAN,PIXEL_STD,TCM}`` and ``INPUT.FORMAT``.

    Raises:
        ConfigError: levels that the backbone does not have, an unknown charset, or sizes that do not fit together.
    """
    options = cfg.MODEL.DEEPSOLO
    charset = Charset.named(cfg.MODEL.TEXT.CHARSET)
    channels, heads, levels = options.HIDDEN_DIM, options.NHEADS, options.NUM_FEATURE_LEVELS
    if channels % heads or channels % 4:
        raise ConfigError(f"MODEL.DEEPSOLO.HIDDEN_DIM is {channels}; it must be a multiple of 4 and of NHEADS, {heads}")
    shapes = backbone.output_shape()
    missing = [level for level in options.IN_LEVELS if level not in shapes]
    if missing or not options.IN_LEVELS:
        raise ConfigError(
            f"MODEL.DEEPSOLO.IN_LEVELS names {missing or 'nothing'}; the backbone has {', '.join(shapes)}"
        )
    if levels < len(options.IN_LEVELS):
        raise ConfigError(
            f"MODEL.DEEPSOLO.NUM_FEATURE_LEVELS is {levels}, fewer than the {len(options.IN_LEVELS)} IN_LEVELS"
        )
    common = {"channels": channels, "feedforward": options.DIM_FEEDFORWARD, "heads": heads, "levels": levels}
    return DeepSolo(
        backbone=backbone,
        batcher=ImageBatcher(
            pixel_mean=cfg.MODEL.PIXEL_MEAN,
            pixel_std=cfg.MODEL.PIXEL_STD,
            pixel_order=cfg.INPUT.FORMAT,
            # A plain ResNet takes any size; published models saw images that were not padded to a multiple of 32.
            size_divisibility=1 if isinstance(backbone, ImageNetResNet) else backbone.size_divisibility,
        ),
        projection=MultiScaleProjection(
            in_channels=[shapes[level].channels for level in options.IN_LEVELS],
            strides=[shapes[level].stride for level in options.IN_LEVELS],
            channels=channels,
            extra_levels=levels - len(options.IN_LEVELS),
        ),
        encoder=DeformableEncoder(
            layers=options.ENC_LAYERS, points=options.ENC_N_POINTS, dropout=options.DROPOUT, **common
        ),
        proposals=CurveProposals(
            channels=channels,
            num_queries=options.NUM_QUERIES,
            num_points=options.NUM_POINTS,
            prior_prob=options.PRIOR_PROB,
        ),
        decoder=PointDecoder(
            num_queries=options.NUM_QUERIES,
            num_points=options.NUM_POINTS,
            layers=options.DEC_LAYERS,
            sampling_points=options.DEC_N_POINTS,
            dropout=options.DROPOUT,
            **common,
        ),
        heads=PointHeads(channels=channels, num_classes=charset.num_classes, prior_prob=options.PRIOR_PROB),
        charset=charset,
        in_levels=options.IN_LEVELS,
        max_length=cfg.MODEL.TEXT.MAX_LENGTH,
        too_long=cfg.MODEL.TEXT.TOO_LONG,
        criterion=_criterion(options),
        threshold=options.INFERENCE_TH_TEST,
        matching_loss=_matching_loss(cfg),
    )


def _criterion(options: CfgNode) -> SetCriterion:
    return SetCriterion(
        matcher=Matcher(
            class_weight=options.CLASS_WEIGHT,
            point_weight=options.POINT_WEIGHT,
            text_weight=options.TEXT_WEIGHT,
            curve_class_weight=options.PROPOSAL_CLASS_WEIGHT,
            curve_weight=options.PROPOSAL_CURVE_WEIGHT,
            focal_alpha=options.FOCAL_ALPHA,
            focal_gamma=options.FOCAL_GAMMA,
        ),
        boundary_weight=options.BOUNDARY_WEIGHT,
        auxiliary=options.AUX_LOSS,
    )


def _matching_loss(cfg: CfgNode) -> nn.Module:
    tcm = cfg.MODEL.TCM
    return MatchingLoss(kind=tcm.LOSS, weight=tcm.LOSS_WEIGHT, shrink_ratio=tcm.SHRINK_RATIO)
