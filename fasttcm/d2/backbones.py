"""Our backbones as detectron2 backbones, bare or under detectron2's own FPN.

Builders for ``MODEL.BACKBONE.NAME``: ``build_clip_resnet_backbone``, ``build_tcm_backbone``, ``build_fasttcm_backbone``
give the levels of ``MODEL.RESNETS.OUT_FEATURES`` among ``res2`` .. ``res5``; their forms ``build_*_fpn_backbone`` give
a pyramid over ``MODEL.FPN.IN_FEATURES``, whose further levels are ``MODEL.FPN.TOP_BLOCK``: ``maxpool`` (p6, as in
Faster R-CNN), ``conv`` (p6 and p7 from ``MODEL.FPN.TOP_BLOCK_INPUT``: ``p5`` in FCOS and ABCNet, ``res5`` in
RetinaNet) or ``none``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import FPN
from detectron2.modeling import Backbone as Detectron2Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool, LastLevelP6P7
from torch import Tensor, nn

from fasttcm.clip import ClipResNet
from fasttcm.engine.build import bottom_up_options
from fasttcm.errors import ConfigError
from fasttcm.layers.backbone import Backbone
from fasttcm.layers.resnet import ImageNetResNet
from fasttcm.tcm import build_backbone

__all__ = ["BUILDERS", "D2Backbone", "MatchingMap", "build_bare", "build_pyramid", "take_matching_map"]

KINDS = {"clip_resnet": "clip_r50", "tcm": "tcm_cr50", "fasttcm": "fasttcm_cr50"}
"""Middle of a builder's name to the backbone's word."""


@dataclass
class MatchingMap:
    """An instance-language matching map.

    Attributes:
        logits: (B, K, h, w) before the sigmoid.
        padded_size: (height, width) in pixels of the batch that it covers.
    """

    logits: Tensor
    padded_size: tuple[int, int]


class D2Backbone(Detectron2Backbone):
    """One of our backbones behind detectron2's interface.

    Args:
        body: our backbone.
        out_features: its levels to return, in the order of the body.

    Attributes:
        matching: the instance-language matching map of the last forward pass in training; ``None`` from a backbone
            without texts. A detectron2 backbone may return features alone, so the map waits here for its loss.

    Raises:
        ConfigError: a level that the body does not have.
    """

    def __init__(self, body: Backbone, out_features: Sequence[str]) -> None:
        super().__init__()
        shapes = body.output_shape()
        unknown = [level for level in out_features if level not in shapes]
        if unknown or not out_features:
            raise ConfigError(
                f"the backbone has no level {', '.join(unknown) or '(none named)'}; it has {', '.join(shapes)}"
            )
        self.body = body
        self._levels = [level for level in shapes if level in out_features]
        self.matching: MatchingMap | None = None

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Level to (B, C, H / stride, W / stride) of normalised images (B, 3, H, W)."""
        output = self.body(images)
        if self.training and output.text_logits is not None:
            self.matching = MatchingMap(output.text_logits, (images.shape[-2], images.shape[-1]))
        return {level: output.features[level] for level in self._levels}

    @property
    def size_divisibility(self) -> int:
        """Input sides must be multiples of this."""
        return self.body.size_divisibility

    @property
    def padding_constraints(self) -> dict[str, int]:
        """The same, as newer versions of detectron2 ask."""
        return {"size_divisibility": self.size_divisibility}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of every level returned."""
        shapes = self.body.output_shape()
        return {
            level: ShapeSpec(channels=shapes[level].channels, stride=shapes[level].stride) for level in self._levels
        }

    def freeze(self, freeze_at: int = 0) -> "D2Backbone":
        """Stop training the first ``freeze_at`` parts (1: the stem, 2: stem and res2, ...), as detectron2's ResNet."""
        for module in self.body.modules():
            if isinstance(module, ClipResNet | ImageNetResNet):
                module.freeze(freeze_at)
        return self


def build_bare(cfg: CfgNode, kind: str, out_features: Sequence[str]) -> D2Backbone:
    """The backbone ``kind`` from ``MODEL.{BACKBONE,CLIP,RESNET,TCM}``.

    Raises:
        ConfigError: an unknown level or a setting that does not fit.
        CheckpointError: weights that cannot be used.
    """
    return D2Backbone(build_backbone(kind, **bottom_up_options(cfg, kind)), out_features)


def build_pyramid(cfg: CfgNode, kind: str) -> FPN:
    """detectron2's FPN on :func:`build_bare`, with the levels of ``MODEL.FPN``.

    Raises:
        ConfigError: as :func:`build_bare`, or an unknown top block.
    """
    options = cfg.MODEL.FPN
    bottom_up = build_bare(cfg, kind, options.IN_FEATURES)
    return FPN(
        bottom_up=bottom_up,
        in_features=list(options.IN_FEATURES),
        out_channels=options.OUT_CHANNELS,
        norm=options.NORM if options.NORM != "none" else "",
        top_block=_top_block(options, bottom_up.output_shape()),
        fuse_type=options.FUSE_TYPE,
    )


def _top_block(options: CfgNode, shapes: dict[str, ShapeSpec]) -> nn.Module | None:
    kind, source = options.TOP_BLOCK, options.TOP_BLOCK_INPUT
    if kind == "none":
        return None
    if kind == "maxpool":
        return LastLevelMaxPool()
    if kind != "conv":
        raise ConfigError(f"MODEL.FPN.TOP_BLOCK is {kind!r}; known: conv, maxpool, none")
    channels = shapes[source].channels if source in shapes else options.OUT_CHANNELS
    return LastLevelP6P7(channels, options.OUT_CHANNELS, in_feature=source)


def _bare_builder(kind: str) -> Callable[[CfgNode, ShapeSpec], D2Backbone]:
    def build(cfg: CfgNode, input_shape: ShapeSpec) -> D2Backbone:
        return build_bare(cfg, kind, cfg.MODEL.RESNETS.OUT_FEATURES)

    return build


def _pyramid_builder(kind: str) -> Callable[[CfgNode, ShapeSpec], FPN]:
    def build(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
        return build_pyramid(cfg, kind)

    return build


BUILDERS: dict[str, Callable[[CfgNode, ShapeSpec], Detectron2Backbone]] = {
    **{f"build_{word}_backbone": _bare_builder(kind) for word, kind in KINDS.items()},
    **{f"build_{word}_fpn_backbone": _pyramid_builder(kind) for word, kind in KINDS.items()},
}
"""Name in ``BACKBONE_REGISTRY`` to builder."""


def take_matching_map(model: nn.Module) -> MatchingMap | None:
    """Hand over, once, the matching map that the last forward pass left in a backbone of ours inside ``model``."""
    for module in model.modules():
        if isinstance(module, D2Backbone) and module.matching is not None:
            taken, module.matching = module.matching, None
            return taken
    return None
