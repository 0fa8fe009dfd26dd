"""ABCNet from a configuration: the one place of this project that reads one."""

import math

from fvcore.common.config import CfgNode
from torch import nn

from fasttcm.charset import Charset
from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone, FeatureShape
from fasttcm.layers.bezier_align import BezierPooler
from fasttcm.layers.image_batch import ImageBatcher
from fasttcm.layers.image_pyramid import ImagePyramid
from fasttcm.projects.abcnet.coordinates import CoordinateBranch
from fasttcm.projects.abcnet.ctc_reader import ColumnEncoder, CtcReader
from fasttcm.projects.abcnet.decoder import AttentionDecoder
from fasttcm.projects.abcnet.head import BezierFCOSHead
from fasttcm.projects.abcnet.loss import DetectionLoss
from fasttcm.projects.abcnet.model import ABCNet
from fasttcm.projects.abcnet.proposals import ProposalSelector
from fasttcm.projects.abcnet.recognizer import RecognizerBranch, SequenceEncoder, make_tower
from fasttcm.projects.abcnet.targets import TargetAssigner
from fasttcm.tcm import MatchingLoss

__all__ = ["NEEDS_PYRAMID", "build"]

PIXEL_LEVELS = ("image", "image2", "image4", "image8")
"""Words of ``POOLER_LEVELS`` for the picture itself at full, half, ... size."""

NEEDS_PYRAMID = True
"""The head reads ``p2``, ``p3``, ...: the engine puts the pyramid of ``MODEL.FPN`` on the backbone."""


def build(cfg: CfgNode, backbone: Backbone) -> ABCNet:
    """ABCNet on ``backbone``, from ``MODEL.{ABCNET,TEXT,PIXEL_MEAN,PIXEL_STD,TCM}`` and ``INPUT.FORMAT``.

    Raises:
        ConfigError: levels that the backbone does not have or that do not fit together, or an unknown charset.
    """
    options = cfg.MODEL.ABCNET
    charset = Charset.named(cfg.MODEL.TEXT.CHARSET)
    head_shapes = _shapes(backbone, options.HEAD_LEVELS, "MODEL.ABCNET.HEAD_LEVELS")
    if len(options.SIZES_OF_INTEREST) != len(head_shapes) - 1:
        raise ConfigError(
            f"MODEL.ABCNET.SIZES_OF_INTEREST has {len(options.SIZES_OF_INTEREST)} borders for {len(head_shapes)} "
            f"HEAD_LEVELS; give {len(head_shapes) - 1}"
        )
    head = BezierFCOSHead(
        in_channels=head_shapes[0].channels,
        strides=[shape.stride for shape in head_shapes],
        num_convs=options.NUM_CONVS,
        channels=options.HEAD_CHANNELS or None,
        prior_prob=options.PRIOR_PROB,
    )
    pixels = _pixels(options.POOLER_LEVELS)
    shapes = (
        [FeatureShape(3, stride) for stride in pixels.strides]
        if pixels
        else _shapes(backbone, options.POOLER_LEVELS, "MODEL.ABCNET.POOLER_LEVELS")
    )
    recognizer = (_ctc_reader if options.READER == "ctc" else _recognizer)(cfg, shapes, charset)
    _check_all_levels_used(backbone, [*options.HEAD_LEVELS, *options.POOLER_LEVELS])
    return ABCNet(
        backbone=backbone,
        batcher=ImageBatcher(
            pixel_mean=cfg.MODEL.PIXEL_MEAN,
            pixel_std=cfg.MODEL.PIXEL_STD,
            pixel_order=cfg.INPUT.FORMAT,
            size_divisibility=backbone.size_divisibility,
        ),
        head=head,
        recognizer=recognizer,
        charset=charset,
        max_length=cfg.MODEL.TEXT.MAX_LENGTH,
        too_long=cfg.MODEL.TEXT.TOO_LONG,
        head_levels=options.HEAD_LEVELS,
        pooler_levels=options.POOLER_LEVELS,
        assigner=TargetAssigner(
            num_classes=head.num_classes,
            sizes_of_interest=options.SIZES_OF_INTEREST,
            radius=options.CENTER_RADIUS,
            region=options.ANSWER_REGION,
            ignore_regions=options.IGNORE_REGIONS,
        ),
        criterion=DetectionLoss(focal_alpha=options.FOCAL_ALPHA, focal_gamma=options.FOCAL_GAMMA),
        selector=ProposalSelector(
            threshold_train=options.INFERENCE_TH_TRAIN,
            threshold_test=options.INFERENCE_TH_TEST,
            pre_nms_topk=options.PRE_NMS_TOPK,
            post_nms_topk=options.POST_NMS_TOPK,
            nms_threshold=options.NMS_TH,
            fuses_ends=options.FUSE_ENDS,
            most_covered=options.COVERED_TH,
        ),
        rec_loss_weight=options.REC_LOSS_WEIGHT,
        adaptive_training=options.ADAPTIVE_TRAINING,
        curve_jitter=options.CURVE_JITTER,
        reading_room=(options.READING_ROOM[0], options.READING_ROOM[1]),
        threshold_text=options.TEXT_TH_TEST,
        pixels=pixels,
        trained=options.TRAIN,
        # A recogniser that was told to care less about what follows the end may write anything there.
        stop_at_end=options.PAD_LOSS_WEIGHT != 1.0,
        matching_loss=_matching_loss(cfg),
    )


def _check_all_levels_used(backbone: Backbone, levels: list[str]) -> None:
    unused = [level for level in backbone.output_shape() if level not in levels]
    if unused:  # their weights would never get a gradient, which distributed training does not forgive
        raise ConfigError(
            f"the pyramid makes {', '.join(unused)}, which neither MODEL.ABCNET.HEAD_LEVELS nor POOLER_LEVELS uses; "
            "name them there, or shorten MODEL.FPN.IN_LEVELS or TOP_BLOCK"
        )


def _pixels(levels: list[str]) -> ImagePyramid | None:
    """The image pyramid that ``POOLER_LEVELS`` asks for; ``None`` when it names feature maps."""
    if not any(level in PIXEL_LEVELS for level in levels):
        return None
    if tuple(levels) != PIXEL_LEVELS[: len(levels)]:
        raise ConfigError(
            f"MODEL.ABCNET.POOLER_LEVELS is {levels}; to read from the picture, name the first of "
            f"{', '.join(PIXEL_LEVELS)} and nothing else"
        )
    return ImagePyramid(num_levels=len(levels))


def _pooler(cfg: CfgNode, shapes: list[FeatureShape]) -> BezierPooler:
    options = cfg.MODEL.ABCNET
    strides = [shape.stride for shape in shapes]
    if any(math.log2(stride) != math.log2(strides[0]) + i for i, stride in enumerate(strides)):
        raise ConfigError(f"MODEL.ABCNET.POOLER_LEVELS have strides {strides}; name neighbouring levels, finest first")
    height, width = options.POOLER_RESOLUTION
    return BezierPooler(
        output_size=(height, width),
        scales=[1 / stride for stride in strides],
        sampling_ratio=options.POOLER_SAMPLING_RATIO,
        canonical_size=options.CANONICAL_SIZE,
        canonical_level=options.CANONICAL_LEVEL,
        half_pixel=options.POOLER_HALF_PIXEL,
    )


def _recognizer(cfg: CfgNode, shapes: list[FeatureShape], charset: Charset) -> RecognizerBranch:
    options = cfg.MODEL.ABCNET
    channels = options.RECOGNIZER_CHANNELS
    tower = make_tower(in_channels=shapes[0].channels, channels=channels, num_convs=options.TOWER_CONVS)
    return RecognizerBranch(
        pooler=_pooler(cfg, shapes),
        tower=tower,
        refine=_refine(options.COORD_CONVS, shapes[0].channels),
        encoder=SequenceEncoder(in_channels=channels if len(tower) else shapes[0].channels, channels=channels),
        decoder=AttentionDecoder(
            num_classes=charset.num_classes,
            end=charset.end,
            channels=channels,
            max_length=cfg.MODEL.TEXT.MAX_LENGTH,
            dropout=options.RECOGNIZER_DROPOUT,
            teacher_forcing=options.TEACHER_FORCING,
        ),
        pad_loss_weight=options.PAD_LOSS_WEIGHT,
    )


def _ctc_reader(cfg: CfgNode, shapes: list[FeatureShape], charset: Charset) -> CtcReader:
    options = cfg.MODEL.ABCNET
    height = options.POOLER_RESOLUTION[0]
    if height < 8 or height % 8 or len(options.READER_WIDTHS) != 4:
        raise ConfigError(
            f"MODEL.ABCNET.READER ctc needs regions of 8, 16, 24, ... rows and four READER_WIDTHS, got "
            f"POOLER_RESOLUTION {options.POOLER_RESOLUTION} and READER_WIDTHS {options.READER_WIDTHS}"
        )
    return CtcReader(
        pooler=_pooler(cfg, shapes),
        encoder=ColumnEncoder(
            in_channels=shapes[0].channels,
            height=height,
            widths=options.READER_WIDTHS,
            blocks=options.READER_BLOCKS,
            hidden=options.RECOGNIZER_CHANNELS,
            dropout=options.RECOGNIZER_DROPOUT,
        ),
        num_classes=charset.num_classes,
        blank=charset.end,
        max_length=cfg.MODEL.TEXT.MAX_LENGTH,
        max_regions=options.READER_MAX_REGIONS,
        guide_weight=options.READER_GUIDE_WEIGHT,
    )


def _refine(num_convs: int, channels: int) -> CoordinateBranch | None:
    return CoordinateBranch(channels=channels, num_convs=num_convs) if num_convs else None


def _matching_loss(cfg: CfgNode) -> nn.Module:
    tcm = cfg.MODEL.TCM
    return MatchingLoss(kind=tcm.LOSS, weight=tcm.LOSS_WEIGHT, shrink_ratio=tcm.SHRINK_RATIO)


def _shapes(backbone: Backbone, levels: list[str], key: str) -> list[FeatureShape]:
    """Shapes of the named levels, all of the same number of channels."""
    known = backbone.output_shape()
    missing = [level for level in levels if level not in known]
    if missing or not levels:
        raise ConfigError(f"{key} names {missing or 'nothing'}; the backbone has {', '.join(known)}")
    shapes = [known[level] for level in levels]
    if len({shape.channels for shape in shapes}) > 1:
        channels = ", ".join(f"{level} {shape.channels}" for level, shape in zip(levels, shapes, strict=True))
        raise ConfigError(f"{key} must have equal channels, but there are {channels}; put a pyramid on the backbone")
    return shapes
